"""castor report. `data`: what the page says, against the logs themselves, the ledger and the dump; damaged, huge and
missing logs. `browser`: that its scripts run in headless Chromium and draw every curve; skipped where there is none.
usage: report.py CASTOR data|browser"""
import html
import json
import math
import os
import re
import shutil
import subprocess
import sys
import tempfile

from castor import CASTOR, check, finish

BROWSERS = [shutil.which(name) for name in ("chromium", "chromium-headless-shell", "chromium-browser", "google-chrome")]
BROWSER = next((path for path in BROWSERS if path), None)
if sys.argv[2] == "browser" and not BROWSER:
    print("skipped: there is no chromium")
    sys.exit(77)

NET = """model (x: f32[batch, 8], label: class(3)[batch]) {
    hidden = x |> linear(16) as fc1 |> relu
    logits = hidden |> linear(3) as fc2
    loss            = cross_entropy(logits, label)
    metric accuracy = mean(argmax(logits) == label)
}

train {
    data      synthetic(examples = 256, test = 50, x = normal, label = classes)
    batch     16
    epochs    4
    minimize  loss with sgd(lr = 0.1)
    precision autocast(f16)
    scale     dynamic(init = 16777216)
}
"""
SEVERAL = """model (x: f32[batch, 8]) {
    y = x |> linear(4) as a |> linear(8) as b
    loss near = mean((y - x) ^ 2)
    loss far  = mean(abs(y))
    watch size = max(abs(y))
}

train {
    data     synthetic(examples = 64, test = 16, x = normal)
    batch    16
    epochs   1
    minimize near over "a.*" with sgd(lr = 0.1)
    minimize far over "b.*" with sgd(lr = 0.1)
    precision autocast(f16)
    scale    dynamic per loss
}
"""
PARTS = "module part(x) {\n    return x |> linear(3) as inner\n}\n"
POLICY = "policy mine extends autocast(f16) {\n    keep \"fc2\" f32\n}\n"


def run(*words, code=0, environment=None):
    done = subprocess.run([CASTOR, *words], cwd=folder, capture_output=True, text=True, env=environment)
    check(done.returncode == code, f"castor {' '.join(words)}: exit {done.returncode}, not {code}\n{done.stderr[-1500:]}")
    return done.stdout + done.stderr


def path(name):
    return os.path.join(folder, name)


def write(name, text):
    with open(path(name), "w", encoding="utf-8") as file:
        file.write(text)


def read(name):
    with open(path(name), encoding="utf-8") as file:
        return file.read()


def train(out, net, *flags):
    run("train", net, "--out", out, "--quiet", "--cache", "cache", *flags)


def data_of(page):
    found = re.findall(r'<script type="application/json" id="data">(.*?)</script>', page, re.S)
    check(len(found) == 1, f"{len(found)} blocks of data")
    return json.loads(found[0])


def log_of(run_folder):
    return [json.loads(line) for line in read(f"{run_folder}/log.jsonl").splitlines()]


def curve_of(run_data, name, kind):
    found = [curve for curve in run_data["curves"] if (curve["name"], curve["set"]) == (name, kind)]
    check(len(found) == 1, f"{run_data['name']}: {len(found)} curves {name} of {kind}")
    return found[0]


def near(a, b):
    """Equal, but for the digits that the page leaves out."""
    if isinstance(a, dict) and isinstance(b, dict):
        return a.keys() == b.keys() and all(near(a[key], b[key]) for key in a)
    if isinstance(a, list) and isinstance(b, list):
        return len(a) == len(b) and all(map(near, a, b))
    return math.isclose(a, b, rel_tol=1e-6) if isinstance(b, float) else a == b


def check_curve(run_data, name, kind, points):
    """Every point of a short curve is there, to the digits that the page keeps."""
    curve = curve_of(run_data, name, kind)
    check(curve["steps"] == [step for step, _ in points], f"steps of {name} ({kind}): {curve['steps'][:5]} …")
    check(near(curve["values"], [float(value) for _, value in points]), f"values of {name} ({kind})")


def make_runs():
    write("m.net", NET)
    write("several.net", SEVERAL)
    write("mine.policy", POLICY)
    train("plain", "m.net", "--histogram")
    train("kept<x", "m.net", "--policy", "mine.policy", "--epochs", "2")
    train("several", "several.net")
    os.remove(path("mine.policy"))


# ---- what the page says ----


def check_plain():
    text = run("report", "plain")
    check("wrote plain/report.html" in text and "warning" not in text, text)
    page = read("plain/report.html")
    data, = data_of(page)
    log = log_of("plain")
    steps, evals = [line for line in log if "eval" not in line], [line for line in log if "eval" in line]
    check_curve(data, "loss", "train", [(line["step"], line["loss"]) for line in steps])
    check_curve(data, "accuracy", "train", [(line["step"], line["metrics"]["accuracy"]) for line in steps])
    check_curve(data, "scale", "train", [(line["step"], line["scale"]) for line in steps])
    check_curve(data, "loss", "test", [(line["step"], line["eval"]["loss"]) for line in evals])
    check_curve(data, "accuracy", "test", [(line["step"], line["eval"]["accuracy"]) for line in evals])
    skipped = [line for before, line in zip([{"skipped": 0}, *steps], steps) if line["skipped"] > before["skipped"]]
    check(len(skipped) > 2 and data["skips"]["steps"] == [line["step"] for line in skipped], f"skips: {data['skips']}")
    places = {}
    for line in skipped:
        places.setdefault((line["overflow"], line["cause"]), []).append(line["step"])
    wanted = [{"where": where, "cause": cause, "count": len(at), "first": at[0], "last": at[-1]}
              for (where, cause), at in places.items()]
    check(data["overflows"] == wanted, f"overflows: {data['overflows']}, not {wanted}")
    check([wanted[int(i)]["where"] for i in data["skips"]["values"]] == [line["overflow"] for line in skipped], "which overflow a skip was")
    check(near(data["ranges"], json.loads(read("plain/histogram.json"))["values"]), "the ranges are not histogram.json's")
    ledger = json.loads(run("ledger", "plain/model.net", "--json"))
    check(near(data["ledger"], ledger), f"ledger {data['ledger']}, not {ledger}")
    drawn = run("dump", "plain/model.net", "--emit", "svg", "--after", "dce")
    check(drawn[drawn.index("<svg"):] in page, "the page's graph is not that of castor dump")
    outside = [link for link in re.findall(r"(?:https?:)?//[\w.]+", page.replace("\\/", "/")) if "www.w3.org" not in link]
    check(not re.search(r'\bsrc=|<link|@import|url\((?!#)', page) and not outside, f"the page asks for {outside}")


def check_policy():
    """The policy's file is gone: the run has kept it. And the folder's name is no HTML."""
    text = run("report", "kept<x", "plain", "-o", "both.html")
    check("wrote both.html" in text and "warning" not in text, text)
    page = read("both.html")
    data = data_of(page)
    check([run_data["name"] for run_data in data] == ["kept<x", "plain"], "names of the runs")
    check(data[0]["record"]["policy"] == "mine(f16)", data[0]["record"])
    check("<title>kept&lt;x, plain" in page and "kept<x" not in page.replace("\\u003c", "\\"), "a name stands in the page as HTML")
    first, second = re.findall(r'<div class="drawing" data-run="\d+" hidden>(.*?)</svg>', page, re.S)
    check("keep fc2 f32" in html.unescape(first) and "keep fc2 f32" not in html.unescape(second), "reasons of the policy")


def check_several():
    run("report", "several")
    data, = data_of(read("several/report.html"))
    steps = [line for line in log_of("several") if "eval" not in line]
    for name in ("near", "far"):
        check_curve(data, name, "train", [(line["step"], line["loss"][name]) for line in steps])
        check_curve(data, f"scale/{name}", "train", [(line["step"], line["scale"][name]) for line in steps])
        check(curve_of(data, name, "train")["kind"] == curve_of(data, name, "test")["kind"] == "loss", f"{name} is a loss")
    check_curve(data, "size", "train", [(line["step"], line["watch"]["size"]) for line in steps])


def check_imports():
    """A model that imports is compiled as the run keeps it, whatever became of the files. And a run that was gone on with tells
    how."""
    write("parts.net", PARTS)
    text = NET.replace("linear(3) as fc2", "part as fc2")
    write("importing.net", 'import "parts.net"\n\n' + text)
    train("importing", "importing.net", "--epochs", "1", "--policy", "f32")
    run("train", "importing.net", "--resume", "importing", "--epochs", "2", "--policy", "autocast(bf16)", "--quiet", "--cache", "cache")
    check("warning" not in run("report", "importing"), "a model that imports")
    data, = data_of(read("importing/report.html"))
    check(data["record"]["policy"] == "autocast(bf16)" and "bf16" in read("importing/report.html"), data["record"])
    os.remove(path("importing.net"))
    write("parts.net", "changed\n")
    text = run("report", "importing")
    check("warning" not in text, text)


def check_trainer():
    """A trainer that stands alone leaves all that it takes."""
    run("build", "m.net", "-o", "trainer", "--policy", "f32", "--cache", "cache")
    done = subprocess.run(["./trainer", "--out", "alone", "--epochs", "1", "--quiet"], cwd=folder, capture_output=True, text=True)
    check(done.returncode == 0, done.stderr)
    check("warning" not in run("report", "alone"), "a trainer's run")
    data, = data_of(read("alone/report.html"))
    check(data["record"]["policy"] == "f32" and data["ledger"]["casts_fused"] == 0, data["record"])


def check_damage():
    """Lines that are no use are named, and the rest is there."""
    shutil.copytree(path("plain"), path("torn"))
    lines = read("plain/log.jsonl").splitlines(True)
    lines[2] = lines[2][:20] + "\n"
    lines[4] = "[1]\n"
    lines[6] = "{\"epoch\":1}\n"
    write("torn/log.jsonl", "".join(lines)[:-9])
    write("torn/histogram.json", "{")
    text = run("report", "torn")
    for place, what in ((3, ""), (5, "not an object"), (7, "it has no `step`"), (len(lines), "cut off")):
        check(re.search(rf"warning: torn/log\.jsonl:{place}: .*{re.escape(what)}", text), f"no warning of line {place}: {text}")
    check("torn/histogram.json" in text, text)
    data, = data_of(read("torn/report.html"))
    check(len(data["warnings"]) == 5 and "ranges" not in data, data["warnings"])
    kept = [line for i, line in enumerate(log_of("plain")) if i not in (2, 4, 6) and "eval" not in line]
    check_curve(data, "loss", "train", [(line["step"], line["loss"]) for line in kept])
    write("torn/log.jsonl", "")
    run("report", "torn")
    data, = data_of(read("torn/report.html"))
    check(data["curves"] == [] and data["steps"] == 0, "an empty log has no curves")
    write("torn/model.net", NET.replace("mean(argmax", "nothing(argmax"))
    text = run("report", "torn")
    check("does not compile" in text and "nothing" in text, text)
    write("torn/run.json", read("plain/run.json").replace('"device": "host"', '"device": "moon"'))
    check("messages on standard error" in run("report", "torn"), "a device that is none")
    for text, message in (("{", "torn/run.json:1:"), ("[]", "torn/run.json: it does not tell"), ('{"model": 3}', "does not tell")):
        write("torn/run.json", text)
        check(message in run("report", "torn"), f"run.json {text}")
    os.remove(path("torn/run.json"))
    write("torn/model.net", NET)
    for text in ('{"values": [1]}', '{"values": 2}', "[]", read("plain/histogram.json").replace('"count"', '"counts"', 1)):
        write("torn/histogram.json", text)
        check("no recording of ranges" in run("report", "torn"), f"histogram.json {text[:30]}")
    data, = data_of(read("torn/report.html"))
    check(data["record"] is None and "no run.json" in data["warnings"][1] and data["ledger"], "a run without run.json")


def check_missing():
    check("nowhere: no such run" in run("report", "nowhere", code=3), "a run that is not there")
    os.mkdir(path("bare"))
    check("bare/log.jsonl: cannot read" in run("report", "bare", code=3), "a folder without a log")
    run("report", "plain", "-o", "nowhere/page.html", code=3)
    run("report", code=2)
    run("report", "plain", "--epochs", "3", code=2)
    bare = dict(os.environ, PATH=path("bare"))
    text = run("report", "plain", "-o", "graphless.html", environment=bare)
    check("program `dot` is needed for SVG" in text, text)
    page = read("graphless.html")
    check("<svg" not in page.split('<script type="application/json"')[0] and "`dot` is needed" in data_of(page)[0]["graph_note"],
          "without graphviz the page says so")
    check(data_of(page)[0]["ledger"]["launches"] > 0, "the ledger needs no graphviz")


def check_huge():
    """Three hundred thousand steps: few points, no spike lost, holes where the loss was not finite."""
    shutil.copytree(path("plain"), path("huge"))
    count, spike, dip, hole = 300000, 123457, 200001, 77777
    with open(path("huge/log.jsonl"), "w", encoding="utf-8") as file:
        for step in range(1, count + 1):
            loss = {spike: "1e6", dip: "-5", hole: "null"}.get(step, f"{2 + step % 7 / 10:.2f}")
            file.write(f'{{"step":{step},"epoch":1,"loss":{loss},"lr":0.1,"scale":1,"skipped":{step // 100},"examples_per_s":5}}\n')
    run("report", "huge")
    check(os.path.getsize(path("huge/report.html")) < 2e6, "the page of a huge log is large")
    data, = data_of(read("huge/report.html"))
    loss = curve_of(data, "loss", "train")
    steps, holes = loss["steps"], loss["holes"]
    check(loss["count"] == count and 500 <= len(steps) <= 1600, f"{len(steps)} points")
    width = steps[1] - steps[0]
    at, low = loss["high"].index(1e6), loss["low"].index(-5)
    check(max(loss["high"]) == 1e6 and abs(steps[at] - spike) <= width, f"the spike is at {steps[at]}")
    check(min(loss["low"]) == -5 and abs(steps[low] - dip) <= width, f"the dip is at {steps[low]}")
    check(len(holes) == 1 and 0 <= hole - holes[0] <= width, f"holes: {holes}")
    check(abs(loss["values"][3] - 2.3) < 0.01, "a bucket shows its average")
    check(data["overflows"] == [{"where": "", "cause": "", "count": 3000, "first": 100, "last": count}], data["overflows"])


# ---- what a browser makes of it ----


# A person who touches everything: each button, each slider and choice, every chart and every node of the graph.
TOUCH = """<script>
Element.prototype.setPointerCapture = () => {};
const send = (element, kind, x, y) => element.dispatchEvent(new PointerEvent(kind, {bubbles: true, clientX: x, clientY: y, pointerId: 1}));
const touched = {tips: 0, nodes: 0, skips: 0};
for (const input of document.querySelectorAll("input, select")) {
    if (input.tagName === "SELECT") input.selectedIndex = 1;
    else input.value = input.type === "range" ? input.min : "d_";
    input.dispatchEvent(new Event(input.tagName === "SELECT" ? "change" : "input"));
}
for (const picture of [...document.querySelectorAll(".plot > svg")]) {
    const box = picture.getBoundingClientRect();
    send(picture, "pointermove", box.left + 200, box.top + 50);
    touched.tips += !tip.hidden && tip.textContent.includes("step");
}
for (const chart of charts.filter(chart => chart.options.skips)) {
    const picture = chart.plot.querySelector("svg"), box = picture.getBoundingClientRect(), run = runs[chart.curves[0].run];
    if (!run.skips.steps.length) continue;
    send(picture, "pointermove", box.left + MARGIN.left + chart.px(run.skips.steps[0]), box.top + 50);
    touched.skips += tip.textContent.includes("was skipped") && tip.textContent.includes(run.overflows[0].where);
}
const picture = document.querySelector(".plot > svg"), box = picture.getBoundingClientRect();
for (const [kind, x] of [["pointerdown", 100], ["pointermove", 200], ["pointerup", 300]]) send(picture, kind, box.left + x, box.top + 50);
touched.zoomed = state.range !== null && charts.every(chart => chart.plot.querySelector("svg"));
for (const node of document.querySelectorAll(".node")) {
    send(node, "pointermove", 10, 10);
    touched.nodes += !tip.hidden && tip.textContent.includes(" why ");
}
for (const button of document.querySelectorAll("button")) { button.click(); button.click(); }
document.body.dataset.touched = JSON.stringify(touched);
</script>
"""


def check_touched(page, name):
    """Nothing fails in anybody's hands."""
    write("touched.html", read(page).replace("</body>", TOUCH + "</body>"))
    dom, body = browse("touched.html", name)
    touched = json.loads(html.unescape(re.search(r'data-touched="([^"]*)"', body).group(1)))
    plots, nodes = dom.count('<div class="plot"'), len(re.findall(r'data-text="[^"]* why ', dom))
    check(touched == {"tips": plots, "nodes": nodes, "skips": 1, "zoomed": True} and nodes > 20, f"{name}: touched {touched}, {plots} charts, {nodes} nodes")


def browse(page, name):
    """The document and its body's tag after its scripts ran, without an error."""
    words = [BROWSER, "--headless", "--no-sandbox", "--disable-gpu", "--virtual-time-budget=5000", "--window-size=1280,2400",
             f"--user-data-dir={path('profile')}", "--dump-dom", "file://" + path(page)]
    done = subprocess.run(words, capture_output=True, text=True, timeout=300)
    body = re.search(r"<body[^>]*>", done.stdout)
    check(body and 'data-ready="true"' in body.group() and "data-error" not in body.group(),
          f"{name}: the page's scripts failed: {body and body.group()}\n{done.stderr[-500:]}")
    return done.stdout, body.group()


def check_browser(page, name):
    """Curves and their points as in the page's data."""
    dom, _ = browse(page, name)
    runs = data_of(read(page))
    wanted = sorted((str(number), curve["set"], sum(value is not None for value in curve["values"]))
                    for number, run_data in enumerate(runs) for curve in run_data["curves"])
    found = re.findall(r'<path class="curve[^"]*" d="(M[^"]*)" data-points="(\d+)" data-run="(\d+)" data-curve="[^"]*" data-set="(\w+)"', dom)
    check(sorted((number, kind, int(points)) for _, points, number, kind in found) == wanted, f"{name}: curves {len(found)}")
    check(not any("NaN" in d or "Infinity" in d for d, *_ in found), f"{name}: a curve leads nowhere")
    overflows = sum(len(run_data["overflows"]) for run_data in runs)
    check(dom.count('<tr class="overflow">') == overflows, f"{name}: overflows")
    named = [value for run_data in runs for value in run_data.get("ranges", []) if value["name"] and value["count"]]
    check(len(re.findall('class="range-row range"', dom)) == len(named), f"{name}: ranges")
    lost = [float(share) for share in re.findall(r'class="range-row range" data-lost="([^"]*)"', dom)]
    forward = [(a, value["lost_in_f16"]) for a, value in zip(lost, named) if value["region"] != "backward"]
    check(all(math.isclose(a, b, abs_tol=1e-9) for a, b in forward), f"{name}: lost shares of values that no scale moves")
    check(dom.count('class="drawing"') == sum("graph_note" not in run_data for run_data in runs), f"{name}: graphs")
    warnings = sum(len(run_data["warnings"]) for run_data in runs)
    check(dom.count('<div class="warning">') == warnings, f"{name}: warnings")


with tempfile.TemporaryDirectory() as folder:
    make_runs()
    if sys.argv[2] == "data":
        check_plain()
        check_policy()
        check_several()
        check_imports()
        check_trainer()
        check_damage()
        check_missing()
        check_huge()
    else:
        with open(path("plain/log.jsonl"), "a", encoding="utf-8") as log:
            log.write('{"step":65,"epoch":5,"loss":null,"scale":1,"skipped":0}\n{"step":66,"ep')
        run("report", "plain")
        run("report", "plain", "kept<x", "several", "-o", "three.html")
        check_browser("plain/report.html", "one run")
        check_browser("three.html", "three runs")
        check_touched("three.html", "three runs")

finish()
