/* A chart of curves over steps: linear or logarithmic, zoomed by dragging, all charts alike. */

const state = {shown: new Set(), range: null, smooth: 0.9};
const charts = [];

function refresh() {
    for (const chart of charts) chart.render();
}

const MARGIN = {left: 58, right: 14, top: 8, bottom: 24};

class Chart {
    /* curves: {colour, run, set, label, steps, values, low, high, holes}; options: base (of the logarithm; 0: linear),
     * stairs, small, skips (the skipped steps are shown), title. */
    constructor(curves, options) {
        this.curves = curves;
        this.options = options;
        this.base = options.base || 0;
        this.plot = html("div", {class: "plot"});
        this.element = html("div", {class: "card chart"}, this.head(), this.plot);
        charts.push(this);
        if (window.ResizeObserver) new ResizeObserver(() => this.plot.clientWidth !== this.width && this.render()).observe(this.plot);
    }

    head() {
        const sets = [...new Map(this.curves.map(curve => [curve.set, curve])).values()];
        const keys = sets.length < 2 ? [] : sets.map(curve =>
            html("span", {class: "key " + (runs.length > 1 ? "s7" : curve.colour)},
                svg("svg", {width: 26, height: 10},
                    svg("path", {class: "curve " + style(curve), d: "M1 5H25"}),
                    dotted(curve) ? svg("circle", {class: "dot", cx: 13, cy: 5, r: 2.6}) : null), curve.set));
        const toggle = button("log", "logarithmic axis", () => {
            this.base = this.base ? 0 : this.options.base || 10;
            toggle.setAttribute("aria-pressed", this.base > 0);
            this.render();
        }, this.base > 0);
        const holes = this.curves.some(curve => curve.holes.length) ? html("span", {class: "key bad"}, "red: not finite") : null;
        return html("div", {class: "chart-head"}, html("h3", {}, this.options.title), holes, keys, toggle);
    }

    visible() {
        return this.curves.filter(curve => state.shown.has(curve.run));
    }

    /* The range of steps and of values that is shown. */
    extents(curves) {
        const steps = curves.flatMap(curve => [curve.steps[0], curve.steps[curve.steps.length - 1]]);
        const x = state.range || [Math.min(...steps), Math.max(...steps)];
        let low = Infinity, high = -Infinity;
        for (const curve of curves) {
            curve.steps.forEach((step, i) => {
                if (step < x[0] || step > x[1]) return;
                for (const value of [curve.values[i], curve.low && curve.low[i], curve.high && curve.high[i]]) {
                    if (typeof value !== "number" || (this.base && value <= 0)) continue;
                    low = Math.min(low, value);
                    high = Math.max(high, value);
                }
            });
        }
        if (low > high) [low, high] = this.base ? [1, 10] : [0, 1];
        if (this.base) return {x: widen(x), y: low === high ? [low / 2, high * 2] : [low / 1.1, high * 1.1]};
        const room = (high - low) * 0.05 || Math.abs(high) * 0.1 || 1;
        return {x: widen(x), y: [low >= 0 && low - room < 0 ? 0 : low - room, high + room]};
    }

    render() {
        const curves = this.visible().filter(curve => curve.steps.length);
        this.width = this.plot.clientWidth || 520;
        this.height = this.options.small ? 150 : 250;
        this.plot.replaceChildren();
        if (!curves.length) {
            this.plot.append(html("p", {}, "Nothing to show: the runs are switched off."));
            return;
        }
        const {x, y} = this.extents(curves), inner = this.width - MARGIN.left - MARGIN.right;
        const height = this.height - MARGIN.top - MARGIN.bottom;
        const scale = value => this.base ? Math.log(Math.max(value, y[0] * 1e-3)) : value;
        this.px = step => (step - x[0]) / (x[1] - x[0]) * inner;
        this.py = value => height - (scale(value) - scale(y[0])) / (scale(y[1]) - scale(y[0])) * height;
        this.step = pixel => x[0] + pixel / inner * (x[1] - x[0]);
        const area = svg("svg", {x: MARGIN.left, y: MARGIN.top, width: inner, height, class: "area"},
            curves.map(curve => this.draw(curve, height)));
        const picture = svg("svg", {height: this.height, width: this.width, role: "img", "aria-label": this.options.title},
            this.axes(x, y, inner, height), area);
        this.plot.append(picture);
        this.follow(picture, area, curves, inner, height);
    }

    axes(x, y, inner, height) {
        const horizontal = this.base ? logTicks(y[0], y[1], this.base) : linearTicks(y[0], y[1], this.options.small ? 3 : 5);
        const parts = horizontal.map(tick => {
            const at = MARGIN.top + this.py(tick);
            return [svg("path", {class: "rule", d: `M${MARGIN.left} ${at}h${inner}`}),
                svg("text", {class: "axis", x: MARGIN.left - 7, y: at + 4, "text-anchor": "end"}, this.base === 2 ? powerOfTwo(Math.round(Math.log2(tick))) : formatTick(tick))];
        });
        for (const tick of linearTicks(x[0], x[1], Math.max(2, Math.floor(inner / 70))).filter(Number.isInteger)) {
            const at = MARGIN.left + this.px(tick);
            parts.push(svg("text", {class: "axis", x: at, y: this.height - 6, "text-anchor": "middle"}, formatTick(tick)));
        }
        parts.push(svg("text", {class: "axis", x: MARGIN.left - 7, y: this.height - 6, "text-anchor": "end"}, "step"));
        parts.push(svg("path", {class: "base", d: `M${MARGIN.left} ${MARGIN.top + height}h${inner}`}));
        return parts.flat();
    }

    draw(curve, height) {
        const smoothed = state.smooth > 0 && curve.set === "train" && !this.options.stairs && curve.values.length > 50;
        const parts = [], at = this.path(curve.steps, curve.values);
        if (curve.low) parts.push(svg("path", {class: "band", d: this.band(curve)}));
        parts.push(svg("path", {class: `curve ${style(curve)}${smoothed ? " faint" : ""}`, d: at.d, "data-points": at.points,
            "data-run": curve.run, "data-curve": curve.label, "data-set": curve.set}));
        if (smoothed) parts.push(svg("path", {class: "smooth", d: this.path(curve.steps, smooth(curve.values)).d}));
        if (dotted(curve) && curve.values.length < 80) {
            curve.values.forEach((value, i) => value !== null && parts.push(
                svg("circle", {class: "dot", cx: this.px(curve.steps[i]), cy: this.py(value), r: 2.6})));
        }
        for (const step of curve.holes) parts.push(svg("path", {class: "hole", d: `M${this.px(step)} ${height}v-9`}));
        for (const step of this.options.skips ? runs[curve.run].skips.steps : [])
            parts.push(svg("path", {class: "skip", d: `M${this.px(step)} ${height}v-14`}));
        return svg("g", {class: curve.colour}, parts);
    }

    path(steps, values) {
        let d = "", points = 0, pen = false, last = 0;
        values.forEach((value, i) => {
            const drawn = value !== null && !(this.base && value <= 0);
            if (drawn) {
                const x = this.px(steps[i]).toFixed(1), y = this.py(value).toFixed(1);
                d += pen ? (this.options.stairs && y !== last ? `H${x}V${y}` : `L${x} ${y}`) : `M${x} ${y}`;
                last = y;
                points++;
            }
            pen = drawn;
        });
        return {d: points === 1 ? d + "h.01" : d, points};
    }

    band(curve) {
        const there = curve.steps.map((_, i) => i).filter(i => curve.low[i] !== null);
        const along = (list, values) => list.map(i => `${this.px(curve.steps[i]).toFixed(1)} ${this.py(values[i]).toFixed(1)}`);
        return there.length ? "M" + [...along(there, curve.high), ...along(there.reverse(), curve.low)].join("L") + "Z" : "";
    }

    /* The pointer: values under it, and a zoom by dragging. */
    follow(picture, area, curves, inner, height) {
        const cross = svg("path", {class: "cross"}), selection = svg("rect", {class: "selection", y: 0, height});
        let from = null;
        const pixel = event => Math.max(0, Math.min(inner, event.clientX - picture.getBoundingClientRect().left - MARGIN.left));
        area.append(cross, selection);
        picture.addEventListener("pointermove", event => {
            const at = pixel(event), step = this.step(at);
            cross.setAttribute("d", `M${at} 0V${height}`);
            if (from !== null) build(selection, {x: Math.min(from, at), width: Math.abs(at - from)}, []);
            showTip(event, this.readings(curves, step));
        });
        picture.addEventListener("pointerleave", () => { cross.setAttribute("d", ""); hideTip(); });
        picture.addEventListener("pointerdown", event => { from = pixel(event); picture.setPointerCapture(event.pointerId); });
        picture.addEventListener("pointerup", event => {
            const ends = [from, pixel(event)].sort((a, b) => a - b);
            from = null;
            build(selection, {width: 0}, []);
            if (ends[1] - ends[0] > 6) {
                state.range = ends.map(end => this.step(end));
                refresh();
            }
        });
        picture.addEventListener("dblclick", () => { state.range = null; refresh(); });
    }

    /* What was skipped under the pointer, and where it overflowed. */
    skipped(curve, step) {
        const skips = runs[curve.run].skips, i = nearest(skips.steps, step);
        if (!this.options.skips || !skips.steps.length || Math.abs(this.px(skips.steps[i]) - this.px(step)) > 4) return null;
        const {where, cause} = runs[curve.run].overflows[skips.values[i]];
        return html("tr", {class: curve.colour}, html("td", {colspan: 4},
            html("div", {}, `step ${format(skips.steps[i])} was skipped: ${CAUSES[cause] || cause}`), html("div", {class: "mono"}, where)));
    }

    readings(curves, step) {
        return html("table", {}, curves.map(curve => this.skipped(curve, step)), curves.map(curve => {
            const i = nearest(curve.steps, step), spread = curve.low && curve.low[i] !== curve.high[i];
            return html("tr", {class: curve.colour}, html("td", {}, html("i"), curve.label, curve.set === "train" ? "" : ` (${curve.set})`),
                html("td", {class: "number"}, format(curve.values[i])),
                html("td", {}, spread ? `${format(curve.low[i])} … ${format(curve.high[i])}` : ""),
                html("td", {}, `step ${format(curve.steps[i])}`));
        }));
    }
}

function style(curve) {
    return curve.set === "average" ? "dashed" : "";
}

function dotted(curve) {
    return curve.set !== "train";
}

function widen(x) {
    return x[0] === x[1] ? [x[0] - 1, x[1] + 1] : x;
}

function nearest(steps, step) {
    let low = 0, high = steps.length - 1;
    while (high - low > 1) {
        const middle = (low + high) >> 1;
        if (steps[middle] < step) low = middle;
        else high = middle;
    }
    return step - steps[low] < steps[high] - step ? low : high;
}

/* An exponential average without the pull towards 0 at its beginning. */
function smooth(values) {
    let sum = 0, weight = 0;
    return values.map(value => {
        if (value === null) return null;
        sum = state.smooth * sum + (1 - state.smooth) * value;
        weight = state.smooth * weight + 1 - state.smooth;
        return sum / weight;
    });
}
