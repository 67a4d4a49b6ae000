/* The page from its data: what the runs are, their curves, ranges, graphs and ledgers. */

window.addEventListener("error", event => { document.body.dataset.error = event.message; });

const runs = JSON.parse(document.getElementById("data").textContent);

function header() {
    const chips = runs.map((run, number) => {
        const chip = button(run.name, run.folder, () => {
            if (state.shown.has(number)) state.shown.delete(number);
            else state.shown.add(number);
            chip.setAttribute("aria-pressed", state.shown.has(number));
            refresh();
        }, true);
        chip.classList.add("chip", "s" + number % 8);
        return chip;
    });
    build(document.getElementById("header"), {}, [html("h1", {}, runs.length > 1 ? `${runs.length} runs` : runs[0].name),
        runs.length > 1 ? html("div", {class: "chips"}, chips) : null]);
}

function warningSection() {
    const lines = runs.flatMap(run => run.warnings);
    if (!lines.length) return [];
    return [html("div", {class: "card warnings"}, lines.map(line => html("div", {class: "warning"}, line)))];
}

/* ---- what the runs are ---- */

function quote(word) {
    return /^[\w./=,:@%+-]+$/.test(word) ? word : `'${word.replaceAll("'", "'\\''")}'`;
}

function command(record) {
    if (!record || !record.file) return "not told";
    const flags = (record.flags || []).map(([flag, value]) => value ? `--${flag} ${quote(value)}` : `--${flag}`);
    return ["castor train", quote(record.file), ...flags].join(" ");
}

/* The last value of each curve of a set, or of the best of them. */
function lastScores(run) {
    return run.curves.filter(curve => curve.kind === "loss" || curve.kind === "metric").map(curve => {
        const last = curve.values[curve.values.length - 1];
        return `${curve.name}${curve.set === "train" ? "" : ` (${curve.set})`} ${format(last)}`;
    });
}

function speed(run) {
    const curve = run.curves.find(curve => curve.name === "examples_per_s");
    const values = curve ? curve.values.filter(value => value !== null).sort((a, b) => a - b) : [];
    return values.length ? format(Math.round(values[values.length >> 1])) : "not told";
}

/* A table with a row for each fact and a column for each run. */
function factTable(rows) {
    const shown = rows.filter(row => row.values.some(value => value !== null));
    return html("div", {class: "card scroll"}, html("table", {},
        runs.length > 1 ? html("thead", {}, html("tr", {}, html("th"), runs.map(run => html("th", {}, run.name)))) : null,
        html("tbody", {}, shown.map(row => html("tr", {}, html("th", {}, row.name),
            row.values.map(value => html("td", {class: row.mono ? "mono" : ""}, value === null ? "–" : value)))))));
}

function summarySection() {
    const record = key => runs.map(run => run.record && run.record[key] || null);
    return [factTable([
        {name: "model", values: record("model")},
        {name: "policy", values: record("policy")},
        {name: "device", values: record("device")},
        {name: "command", mono: true, values: runs.map(run => command(run.record))},
        {name: "steps", values: runs.map(run => `${format(run.steps)} in ${format(run.epoch)} epoch${run.epoch === 1 ? "" : "s"}, ` +
            `${format(run.skipped)} skipped`)},
        {name: "last values", values: runs.map(run => lastScores(run).join(", ") || "the log has no steps")},
        {name: "examples/s, median", values: runs.map(speed)}])];
}

/* ---- ledger ---- */

function bytes(value) {
    return value < 1e6 ? `${format(value / 1e3)} kB` : value < 1e9 ? `${format(+(value / 1e6).toFixed(2))} MB` : `${format(value / 1e9)} GB`;
}

const LEDGER = [
    ["launches", format], ["kernels", format], ["library_calls", format], ["copies", format], ["bytes", bytes],
    ["bytes_lower_bound", bytes], ["bytes_unfused", bytes], ["arena_peak", bytes], ["arena_lower_bound", bytes],
    ["casts_fused", format], ["casts_standalone", format], ["parameters", format], ["parameter_bytes", bytes],
    ["optimizer_bytes", bytes], ["flops", value => `${format(value / 1e9)} GFLOP`], ["predicted_ms", value => `${format(value)} ms`]];

function ledgerSection() {
    if (!runs.some(run => run.ledger)) return [];
    const rows = LEDGER.map(([key, show]) => ({name: key.replaceAll("_", " "),
        values: runs.map(run => run.ledger && key in run.ledger ? show(run.ledger[key]) : null)}));
    return [html("h2", {}, "What one training step costs"), factTable(rows)];
}

runs.forEach((_, number) => state.shown.add(number));
header();
document.body.append(tip);
document.getElementById("main").append(...[warningSection, summarySection, curveSection, scaleSection, otherSection, rangeSection,
    graphSection, ledgerSection].flatMap(section => section()).flat(3).filter(part => part));
refresh();
document.body.dataset.ready = "true";
