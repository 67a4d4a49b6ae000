"""`castor export` against ONNX Runtime: the models' evaluation graphs, and a network of the operators that they lack, on
random inputs and the weights of a short training give what `castor run` gives. Skipped where the packages onnx and
onnxruntime are not found: by the Python of CASTOR_ONNX_PYTHON, else of build/onnx, else this one
(python3 -m venv build/onnx && build/onnx/bin/pip install onnx onnxruntime).
usage: onnx.py CASTOR [MODEL ...]"""
import json
import os
import random
import re
import subprocess
import sys
import tempfile

from castor import CASTOR, ROOT, castor, check, finish

sys.path.insert(0, os.path.join(ROOT, "tests", "pytorch"))
import safetensors  # noqa: E402

OTHERS = """model (x: f32[batch, 3, 12, 12], words: class(20)[batch, 6], label: class(5)[batch]) {
    maps   = x |> conv(6, 3, stride = 2, pad = 1, groups = 3) |> batch_norm |> gelu |> max_pool(3, stride = 2, pad = 1)
    sides  = concat(flip(maps, axis = 3), pad(maps[:, :, 1:], [[0, 0], [0, 0], [1, 0], [0, 0]]), axis = 1)
    first  = sides |> avg_pool(2, stride = 1) |> flatten
    larger = x |> conv_transpose(4, 3, stride = 2, pad = 1, output_pad = [0, 1]) |> conv_transpose(2, 2, groups = 2, bias = false)
    told   = words |> embedding(20, 8) |> layer_norm
    mixed  = softmax(told @ told') @ told |> flatten
    steps  = cumsum(told, axis = 1)[:, ::2] |> silu |> flatten
    chosen = where(first > 0.1 and not (first > 1), first, floor(first) + sign(first) * log1p(abs(first)))
    hidden = concat(chosen, mixed, steps, axis = 1) |> linear(16) as fc1 |> softplus
    logits = hidden |> linear(5) as fc2
    loss   = cross_entropy(logits, label) + 0.01 * mean(logits ^ 2) + mean(larger ^ 2)
    metric accuracy = mean(argmax(logits) == label)
    metric share    = ratio(sum(logits), sum(abs(logits)))
    corner = told[:, :, :2]
    output kept = nms(concat(corner, corner + 1, axis = 2), told[:, :, 2], threshold = 0.1)
    output logits
    output larger
    output seen = softmax(logits)
}
train {
    data     synthetic(examples = 64, x = normal(0, 1), words = classes, label = classes)
    batch    16
    steps    4
    minimize loss with adam(lr = 1e-3)
}
"""
RUNNER = """import json, sys, numpy, onnx, onnxruntime
path, feed = sys.argv[1:]
onnx.checker.check_model(path, full_check=True)
session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
types = {"tensor(float)": numpy.float32, "tensor(uint8)": numpy.uint8, "tensor(int32)": numpy.int32}
values = json.load(open(feed))
inputs = {i.name: numpy.array(values[i.name], types[i.type]).reshape(i.shape) for i in session.get_inputs()}
results = session.run(None, inputs)
print(json.dumps({o.name: numpy.asarray(r, numpy.float64).ravel().tolist() for o, r in zip(session.get_outputs(), results)}))
"""


def find_python():
    for path in (os.environ.get("CASTOR_ONNX_PYTHON"), os.path.join(ROOT, "build", "onnx", "bin", "python"), sys.executable):
        if path and os.path.exists(path) and subprocess.run([path, "-c", "import onnx, onnxruntime"], capture_output=True,
                                                            check=False).returncode == 0:
            return path
    print("no onnx and onnxruntime here")
    sys.exit(77)


def inputs_of(model, policy, batch):
    """(name, element, shape, classes) of the evaluation graph."""
    text = castor("dump", model, "--emit", "ir", "--after", "dce", "--only", "eval", "--device", "host", "--policy", policy,
                  "--batch", str(batch))
    for name, classes, element, shape in re.findall(r'input\("(\w+)"(?:, classes=(\d+))?\) : (\w+)\[([\d,]*)\]', text):
        yield name, element.upper(), [int(size) for size in shape.split(",") if size], int(classes or 0)


def draw(element, shape, classes):
    count = 1
    for size in shape:
        count *= size
    if element in ("U8", "I32"):
        return [random.randrange(classes or 256) for _ in range(count)]
    return [random.gauss(0, 1) for _ in range(count)]


def compare(python, folder, model, policy, bound, data=()):
    batch, name = 16, f"{os.path.basename(model)}, {policy}"
    place = tempfile.mkdtemp(dir=folder)
    run, feed, fetch, onnx = (os.path.join(place, end) for end in ("run", "feed", "fetch", "m.onnx"))
    words = ["--device", "host", "--policy", policy, "--batch", str(batch)]
    castor("train", model, "--out", run, "--quiet", "--steps", "4", *data, *words)
    weights = os.path.join(run, "last.safetensors")
    castor("export", model, "--weights", weights, "--onnx", onnx, *words)
    tensors = {name: value for name, value in safetensors.read(weights).items() if not name.startswith("train/")}
    drawn = {}
    for field, element, shape, classes in inputs_of(model, policy, batch):
        drawn[field] = draw(element, shape, classes)
        tensors[field] = (element, shape, drawn[field])
    safetensors.write(feed, tensors)
    with open(feed + ".json", "w") as file:
        json.dump(drawn, file)
    castor("run", model, "--graph", "eval", "--feed", feed, "--fetch", fetch, *words)
    done = subprocess.run([python, "-c", RUNNER, onnx, feed + ".json"], capture_output=True, text=True, check=False)
    if not check(done.returncode == 0, f"{name}: {done.stderr[-1500:]}"):
        return
    told = json.loads(done.stdout)
    for key in [key for key in told if key.endswith(".numerator")]:
        whole = key.removesuffix(".numerator")
        told[whole] = [told[key][0] / told[whole + ".denominator"][0]]
    wanted = {name: list(values) for name, (_, _, values) in safetensors.read(fetch).items()}
    worst = 0.0
    for key in wanted:
        if not check(key in told, f"{name}: no output {key}"):
            continue
        scale = max(1.0, max(abs(value) for value in wanted[key]))
        worst = max([worst, *(abs(a - b) / scale for a, b in zip(wanted[key], told[key], strict=True))])
    check(worst <= bound, f"{name}: off by {worst:.3g}, not within {bound}")
    print(f"{name}: {len(wanted)} results within {worst:.2g}")


def main():
    python = find_python()
    random.seed(1)
    images = ("--data", "synthetic(examples = 64, image = uniform(0, 255), label = classes)")
    with tempfile.TemporaryDirectory() as folder:
        others = os.path.join(folder, "others.net")
        with open(others, "w") as file:
            file.write(OTHERS)
        compare(python, folder, others, "f32", 1e-5)
        compare(python, folder, others, "autocast(f16)", 5e-3)
        compare(python, folder, others, "autocast(bf16)", 5e-2)
        for model in sys.argv[2:]:
            for policy, bound in (("f32", 1e-5), ("autocast(f16)", 5e-3), ("autocast(bf16)", 5e-2)):
                compare(python, folder, os.path.join("models", model + ".net"), policy, bound, images)
        for model in ("overflow", "underflow"):
            compare(python, folder, os.path.join("models", model + ".net"), "f32", 1e-5)
    finish()


main()
