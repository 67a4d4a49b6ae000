/* The training graph: moved by dragging, scaled by the wheel once it was clicked on; a node tells its line of IR. */

class Viewer {
    constructor(drawing, number) {
        this.drawing = drawing;
        this.picture = drawing.querySelector("svg");
        this.whole = this.picture.viewBox.baseVal;
        this.whole = {x: this.whole.x, y: this.whole.y, width: this.whole.width, height: this.whole.height};
        this.picture.removeAttribute("width");
        this.picture.removeAttribute("height");
        this.view = {...this.whole};
        this.takeTitles();
        this.ownNames(`graph${number}-`);
        this.listen();
    }

    /* Graphviz gives the gradients of all pictures the same names. */
    ownNames(prefix) {
        for (const part of this.picture.querySelectorAll("[id]")) part.id = prefix + part.id;
        for (const part of this.picture.querySelectorAll("[fill^='url(#']"))
            part.setAttribute("fill", part.getAttribute("fill").replace("#", "#" + prefix));
    }

    show(view) {
        this.view = view;
        this.picture.setAttribute("viewBox", `${view.x} ${view.y} ${view.width} ${view.height}`);
    }

    fit() {
        this.show({...this.whole});
    }

    /* Readable at once: not smaller than it can be read, from the top, where the inputs are. */
    begin() {
        const box = this.picture.getBoundingClientRect(), smallest = 0.6;
        if (!box.width) return;
        const width = Math.min(this.whole.width, box.width / smallest), height = width * box.height / box.width;
        if (height >= this.whole.height) {
            this.fit();
            return;
        }
        const inputs = [...this.picture.querySelectorAll(".node[data-text*='= input']")].map(node => node.getBBox());
        const first = inputs.sort((a, b) => a.y - b.y)[0], middle = first ? first.x + first.width / 2 : this.whole.width / 2;
        const x = Math.max(0, Math.min(this.whole.width - width, middle - width / 2));
        this.show({x: this.whole.x + x, y: this.whole.y, width, height});
    }

    zoom(factor, x, y) {
        const view = this.view, width = Math.max(60, Math.min(this.whole.width * 3, view.width * factor)), by = width / view.width;
        this.show({x: x - (x - view.x) * by, y: y - (y - view.y) * by, width, height: view.height * by});
    }

    zoomMiddle(factor) {
        this.zoom(factor, this.view.x + this.view.width / 2, this.view.y + this.view.height / 2);
    }

    place(event) {
        const matrix = this.picture.getScreenCTM();
        return {x: (event.clientX - matrix.e) / matrix.a, y: (event.clientY - matrix.f) / matrix.d, unit: 1 / matrix.a};
    }

    /* Graphviz puts a node's tooltip into a link; the browser would show it late and in small print. */
    takeTitles() {
        for (const link of this.picture.querySelectorAll("a")) {
            const text = link.getAttribute("xlink:title");
            link.removeAttribute("xlink:title");
            link.closest(".node") && link.closest(".node").setAttribute("data-text", text);
        }
        for (const title of this.picture.querySelectorAll("title")) title.remove();
    }

    listen() {
        let moving = null;
        this.picture.addEventListener("pointerdown", event => {
            moving = this.place(event);
            this.picture.setPointerCapture(event.pointerId);
            this.picture.classList.add("moving");
        });
        this.picture.addEventListener("pointermove", event => {
            const node = event.target.closest && event.target.closest(".node[data-text]");
            if (moving) {
                const now = this.place(event);
                this.show({...this.view, x: this.view.x + moving.x - now.x, y: this.view.y + moving.y - now.y});
            } else if (node) {
                showTip(event, html("div", {class: "mono"}, node.dataset.text));
            } else {
                hideTip();
            }
        });
        for (const name of ["pointerup", "pointercancel"]) this.picture.addEventListener(name, () => {
            moving = null;
            this.picture.classList.remove("moving");
        });
        this.picture.addEventListener("pointerleave", hideTip);
        this.picture.addEventListener("wheel", event => {
            if (!event.ctrlKey && !this.drawing.parentElement.contains(document.activeElement)) return;
            const at = this.place(event);
            event.preventDefault();
            this.zoom(event.deltaY > 0 ? 1.2 : 1 / 1.2, at.x, at.y);
        }, {passive: false});
    }
}

/* What the graph has of each type, and why there may be none. */
function graphSection() {
    const drawings = [...document.querySelectorAll("#drawings .drawing")];
    const notes = runs.filter(run => run.graph_note).map(run => html("p", {}, `${run.name}: no graph: ${run.graph_note}`));
    const heading = html("h2", {}, "The training step by precision");
    if (!drawings.length) return notes.length ? [heading, ...notes] : [];
    const frame = html("div", {class: "card viewer", tabindex: 0}, drawings), viewers = drawings.map((drawing, i) => new Viewer(drawing, i));
    let current = 0;
    const choose = number => {
        current = number;
        drawings.forEach((drawing, i) => { drawing.hidden = i !== number; });
        viewers[number].begin();
        tabs.forEach((tab, i) => tab.setAttribute("aria-pressed", i === number));
    };
    const tabs = drawings.map((drawing, i) => button(runs[drawing.dataset.run].name, "", () => choose(i), false));
    frame.append(html("div", {class: "tools"}, button("+", "closer", () => viewers[current].zoomMiddle(1 / 1.4)),
        button("−", "farther", () => viewers[current].zoomMiddle(1.4)), button("whole", "all of it", () => viewers[current].fit())));
    requestAnimationFrame(() => choose(0));
    choose(0);
    return [heading, html("p", {}, "Orange: f16, green: bf16, blue: f32, red hexagons: casts. Drag to move, click and use the wheel to zoom; " +
        "a node tells its line of IR and the rule that decided its precision."),
        drawings.length > 1 ? html("div", {class: "controls"}, tabs) : null, ...notes, frame];
}
