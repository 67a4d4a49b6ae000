/* Elements, numbers and ticks, as all parts of the page need them. */

function build(element, attributes, children) {
    for (const [name, value] of Object.entries(attributes || {})) {
        if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
        else if (name.startsWith("aria-")) element.setAttribute(name, String(value));
        else if (value === true) element.setAttribute(name, "");
        else if (value !== false && value !== null && value !== undefined) element.setAttribute(name, value);
    }
    element.append(...children.flat().filter(child => child !== null && child !== undefined));
    return element;
}

function html(name, attributes, ...children) {
    return build(document.createElement(name), attributes, children);
}

function svg(name, attributes, ...children) {
    return build(document.createElementNS("http://www.w3.org/2000/svg", name), attributes, children);
}

/* Four digits, or all of a whole number. */
function format(value) {
    if (value === null || value === undefined) return "not finite";
    if (Number.isInteger(value) && Math.abs(value) < 1e7) return value.toLocaleString("en");
    const size = Math.abs(value);
    return size >= 1e-3 && size < 1e5 ? String(+value.toPrecision(4)) : value.toExponential(3).replace("e+", "e");
}

function formatTick(value) {
    if (value === 0) return "0";
    const size = Math.abs(value);
    if (size >= 1e4 || size < 1e-3) {
        const text = value.toExponential(0), exact = value.toExponential(1);
        return (Number(text) === value ? text : exact).replace("e+", "e");
    }
    return String(+value.toPrecision(6));
}

/* 2 to this power, as it is written by hand. */
function powerOfTwo(exponent) {
    return "2" + [...String(exponent)].map(digit => digit === "-" ? "⁻" : "⁰¹²³⁴⁵⁶⁷⁸⁹"[digit]).join("");
}

/* Round numbers from low to high, about so many. */
function linearTicks(low, high, wanted) {
    const rough = (high - low) / wanted, power = 10 ** Math.floor(Math.log10(rough));
    const step = [1, 2, 5, 10].map(part => part * power).find(step => step >= rough * 0.999) || rough;
    const ticks = [];
    for (let i = Math.ceil(low / step - 1e-9); i * step <= high + step * 1e-9; i++) ticks.push(+(i * step).toPrecision(12));
    return ticks;
}

/* Powers of the base; between them 2 and 5 where there are few powers of ten. */
function logTicks(low, high, base) {
    const first = Math.floor(Math.log(low) / Math.log(base) + 1e-9), last = Math.ceil(Math.log(high) / Math.log(base) - 1e-9);
    const every = Math.max(1, Math.ceil((last - first) / 6)), ticks = [];
    for (let i = first; i <= last; i += every) {
        for (const part of base === 10 && last - first < 3 ? [1, 2, 5] : [1]) ticks.push(part * base ** i);
    }
    return ticks.filter(tick => tick >= low * 0.999 && tick <= high * 1.001);
}

/* One small window beside the pointer. */
const tip = html("div", {id: "tip", hidden: true});

function showTip(event, ...content) {
    tip.replaceChildren(...content);
    tip.hidden = false;
    const box = tip.getBoundingClientRect(), right = event.clientX + 16 + box.width > innerWidth;
    tip.style.left = Math.max(4, right ? event.clientX - box.width - 12 : event.clientX + 16) + "px";
    tip.style.top = Math.max(4, Math.min(event.clientY + 14, innerHeight - box.height - 4)) + "px";
}

function hideTip() {
    tip.hidden = true;
}

function button(text, title, action, pressed) {
    return html("button", {type: "button", title, onclick: action, "aria-pressed": pressed}, text);
}
