/* How large the values of the model are, over what f16 can hold: below 2^-24 a value is lost, up to 2^-14 it is
 * subnormal, from 2^16 on it overflows. The loss scale moves what is backward. */

const RANGE = {low: -48, high: 24, lost: -24, subnormal: -14, over: 16};

/* Shares of the elements, were they multiplied by 2^shift. */
function shares(value, shift) {
    const sums = {lost: 0, subnormal: 0, over: value.infinite};
    for (const [text, count] of Object.entries(value.exponents)) {
        const exponent = Number(text) + shift;
        if (exponent < RANGE.lost) sums.lost += count;
        else if (exponent < RANGE.subnormal) sums.subnormal += count;
        else if (exponent >= RANGE.over) sums.over += count;
    }
    for (const key of Object.keys(sums)) sums[key] /= value.count || 1;
    return sums;
}

function zones(height) {
    const zone = (name, from, to) => svg("rect", {class: name, x: from, y: 0, width: to - from, height});
    return [zone("zone-lost", RANGE.low, RANGE.lost), zone("zone-subnormal", RANGE.lost, RANGE.subnormal),
        zone("zone-lost", RANGE.over, RANGE.high)];
}

/* Bars by exponent, as high as the square root of their share; what lies beyond the picture stands at its edge. */
function histogram(value, shift) {
    const bins = new Map();
    for (const [text, count] of Object.entries(value.exponents)) {
        const at = Math.max(RANGE.low, Math.min(RANGE.high - 1, Number(text) + shift));
        bins.set(at, (bins.get(at) || 0) + count);
    }
    const most = Math.max(1, ...bins.values());
    const d = [...bins].map(([at, count]) => {
        const height = Math.max(0.02, Math.sqrt(count / most) * 0.94);
        return `M${at} 1V${(1 - height).toFixed(3)}h1V1Z`;
    }).join("");
    return svg("svg", {viewBox: `${RANGE.low} 0 ${RANGE.high - RANGE.low} 1`, preserveAspectRatio: "none"},
        zones(1), svg("path", {class: "histogram", d}));
}

function axisOfRanges() {
    const width = RANGE.high - RANGE.low;
    const marks = [-40, -24, -14, 0, 16].map(exponent =>
        html("span", {style: `position:absolute;left:${(exponent - RANGE.low) / width * 100}%;transform:translateX(-50%)`}, powerOfTwo(exponent)));
    return html("div", {style: "position:relative;height:18px"}, marks);
}

function percent(share) {
    const text = share === 0 ? "0" : share < 1e-4 ? "<0.01 %" : `${(100 * share).toFixed(2)} %`;
    return html("span", {class: "number" + (share > 1e-2 ? " bad" : "")}, text);
}

function rangeRow(value, scale) {
    const shift = value.region === "backward" ? scale : 0, part = shares(value, shift);
    return {part, element: html("div", {class: "range-row range", "data-lost": part.lost},
        html("span", {title: `${value.name || value.op}, ${value.op}, graph ${value.graph}`},
            html("span", {class: "mono"}, value.name || value.op), html("small", {}, value.region)),
        histogram(value, shift), percent(part.lost), percent(part.subnormal), percent(part.over),
        html("span", {class: "number"}, format(value.largest * 2 ** shift)))};
}

/* The scale that the run ended with, as a power of two. */
function lastScale(run) {
    const curve = run.curves.find(curve => curve.kind === "scale");
    const value = curve ? curve.values[curve.values.length - 1] : 1;
    return value > 0 ? Math.round(Math.log2(value)) : 0;
}

class Ranges {
    constructor(run) {
        this.run = run;
        this.scale = lastScale(run);
        this.region = "all";
        this.order = "graph";
        this.word = "";
        this.named = run.ranges.some(value => value.name);
        this.list = html("div", {class: "ranges"});
        this.element = html("div", {}, this.controls(), html("div", {class: "card"}, this.list));
        this.render();
    }

    choice(label, values, key) {
        const set = event => { this[key] = event.target.value; this.render(); };
        return html("label", {}, label, html("select", {onchange: set}, values.map(value => html("option", {}, value))));
    }

    controls() {
        const shown = html("span", {class: "mono"}, powerOfTwo(this.scale));
        const move = event => { this.scale = Number(event.target.value); shown.textContent = powerOfTwo(this.scale); this.render(); };
        const find = event => { this.word = event.target.value; this.render(); };
        return html("div", {class: "controls"},
            html("label", {}, "loss scale", html("input", {type: "range", min: 0, max: 24, value: this.scale, oninput: move}), shown),
            this.choice("values", ["all", "forward", "backward"], "region"), this.choice("order", ["graph", "lost share"], "order"),
            html("label", {}, "name", html("input", {type: "search", size: 14, oninput: find})));
    }

    render() {
        const wanted = this.run.ranges.filter(value => (value.name || !this.named) && value.count > 0 &&
            (this.region === "all" || value.region === this.region) && (value.name || value.op).includes(this.word));
        const rows = wanted.map(value => rangeRow(value, this.scale));
        if (this.order !== "graph") rows.sort((a, b) => b.part.lost - a.part.lost);
        this.list.replaceChildren(html("div", {class: "range-row head"}, html("span", {}, "value"), axisOfRanges(),
            ["lost", "subnormal", "overflow", "largest"].map(text => html("span", {class: "number"}, text))), ...rows.map(row => row.element));
    }
}

function rangeSection() {
    const recorded = runs.filter(run => run.ranges);
    if (!recorded.length) return [];
    return [html("h2", {}, "Values over the range of f16"),
        html("p", {}, "Each value of the training step in f32, on a few examples before and after training, by exponent. Red: f16 cannot " +
            "hold it (lost, or infinite); yellow: it holds it with fewer bits. The loss scale moves what is backward; it begins " +
            "with the one that the run ended with."),
        recorded.flatMap(run => [runs.length > 1 ? html("h3", {}, run.name) : null, new Ranges(run).element])];
}
