/* Losses and metrics, the loss scale with its overflows, and what else is logged. */

/* With one run the sets have colours of their own, with several the runs have. */
function colourOf(run, set) {
    return "s" + (runs.length > 1 ? run % 8 : {train: 0, test: 1, validate: 2, average: 3}[set]);
}

/* All runs' curves of some kinds, by name in the order in which they come. */
function curvesByName(kinds) {
    const names = new Map();
    runs.forEach((run, number) => {
        for (const curve of run.curves.filter(curve => kinds.includes(curve.kind))) {
            const several = runs.length > 1 ? `${run.name} ` : "";
            const one = {...curve, run: number, colour: colourOf(number, curve.set), label: several + curve.name};
            names.set(curve.name, [...(names.get(curve.name) || []), one]);
        }
    });
    return names;
}

function chartsOf(kinds, options) {
    return [...curvesByName(kinds)].map(([title, curves]) => new Chart(curves, {title, ...options}));
}

function curveSection() {
    const losses = chartsOf(["loss"], {}), metrics = chartsOf(["metric"], {});
    if (!losses.length && !metrics.length) return [];
    const slider = html("input", {type: "range", min: 0, max: 0.99, step: 0.01, value: state.smooth,
        oninput: event => { state.smooth = Number(event.target.value); refresh(); }});
    return [html("h2", {}, "Losses and metrics"),
        html("div", {class: "controls"}, html("label", {}, "smooth the training curves", slider),
            button("all steps", "undo the zoom", () => { state.range = null; refresh(); }),
            html("label", {}, "drag over a chart to zoom in, double-click to zoom out")),
        html("div", {class: "grid"}, [...losses, ...metrics].map(chart => chart.element))];
}

const CAUSES = {forward: "the forward pass itself", scale: "the scale was too large", "": "not told"};

function overflowTable() {
    const rows = runs.flatMap((run, number) => run.overflows.map(overflow =>
        html("tr", {class: "overflow"},
            runs.length > 1 ? html("td", {}, run.name) : null,
            html("td", {class: "mono"}, overflow.where || "not told"), html("td", {class: "cause"}, CAUSES[overflow.cause] || overflow.cause),
            html("td", {class: "number"}, format(overflow.count)), html("td", {class: "number"}, format(overflow.first)),
            html("td", {class: "number"}, format(overflow.last)))));
    if (!rows.length) return html("p", {}, "No step was skipped.");
    return html("div", {class: "card scroll"}, html("table", {},
        html("thead", {}, html("tr", {}, runs.length > 1 ? html("th", {}, "run") : null, html("th", {}, "overflow began at"),
            html("th", {}, "cause"), ["steps", "first", "last"].map(text => html("th", {class: "number"}, text)))),
        html("tbody", {}, rows)));
}

function scaleSection() {
    const scales = chartsOf(["scale"], {base: 2, stairs: true, skips: true});
    return [html("h2", {}, "Loss scale and overflows"),
        html("p", {}, "Ticks at the bottom are steps that overflowed and were skipped."),
        html("div", {class: "grid"}, scales.map(chart => chart.element), overflowTable())];
}

function otherSection() {
    const others = chartsOf(["other"], {small: true});
    if (!others.length) return [];
    return [html("h2", {}, "What else is logged"), html("div", {class: "grid small"}, others.map(chart => chart.element))];
}
