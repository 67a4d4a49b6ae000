"""The networks of models/ at a reduced size against PyTorch's numbers, in f32: networks.py CASTOR NAME [FLAGS of castor run].

Weights and inputs are drawn by name on both sides (`drawn`), so that the files of reference hold none. Losses agree
to 1e-5 relative, and every gradient's RMSE is at most 1e-4 times the larger of its RMS and a thousandth of the RMS over
all gradients. The RMSE is told from projections on random signs, of which the files hold eight a gradient: they take all
elements in, and the mean of their squares is that of the elements'.
"""
import array
import json
import math
import os
import random
import subprocess
import sys
import tempfile
from itertools import compress

import safetensors

HERE = os.path.dirname(os.path.abspath(__file__))
# Much is compiled here and little run; what kernels compute does not depend on optimisation.
os.environ["CC"] = os.path.join(HERE, "..", "fuzz", "quick-cc")
PROJECTIONS = 8

# Of each network: examples, and the options that reduce it. The image is [channels, size, size]; tokens are [context + 1].
# What a network draws in training is fed (`DRAWS`).
NETWORKS = {
    "resnet18": (4, {"size": 64, "channels": 3, "classes": 7, "width": 8}),
    "resnet50": (4, {"size": 64, "channels": 3, "classes": 7, "width": 8}),
    "resnet18_cifar": (4, {"size": 16, "channels": 3, "classes": 10, "width": 8}),
    "resnet9": (4, {"size": 16, "channels": 3, "classes": 10, "width": 8}),
    "vgg16": (2, {"size": 32, "channels": 3, "classes": 7, "width": 4, "pooled": 2, "hidden": 24, "drop": 0}),
    "alexnet": (2, {"size": 64, "channels": 3, "classes": 7, "width": 8, "kernel": 7, "stride": 2, "pooled": 2, "hidden": 24,
                    "drop": 0}),
    "mobilenet_v2": (4, {"size": 64, "channels": 3, "classes": 7, "width": 0.25, "drop": 0}),
    "googlenet": (4, {"size": 64, "channels": 3, "classes": 7, "width": 0.125, "hidden": 16, "drop": 0, "drop_aux": 0}),
    "inception_v2": (4, {"size": 64, "channels": 3, "classes": 7, "width": 0.125}),
    "inception_v3": (2, {"size": 299, "channels": 3, "classes": 7, "width": 0.125, "drop": 0}),
    "dcgan": (4, {"base": 4, "doublings": 3, "channels": 3, "noise": 8, "width": 8}),
    "char_lstm": (3, {"vocab": 31, "context": 7, "width": 16, "layers": 2}),
    "big_lstm": (3, {"vocab": 61, "context": 6, "embed": 12, "width": 24, "projection": 8, "layers": 2, "sampled": 16, "drop": 0}),
    "ssd": (3, {"size": 64, "channels": 1, "classes": 5, "objects": 3, "maps": 4, "width": 4}),
    "gpt": (2, {"vocab": 31, "context": 12, "width": 32, "heads": 4, "layers": 3, "drop": 0}),
    "vit_s16": (2, {"size": 16, "channels": 3, "classes": 7, "patch": 4, "width": 32, "depth": 12, "heads": 4}),
}


# Random numbers by their names, and their shape.
DRAWS = {"dcgan": ("z", lambda examples, options: [examples, options["noise"], 1, 1]),
         "big_lstm": ("softmax.draw", lambda examples, options: [options["sampled"]])}


# Networks with depthwise convolutions.
UPWARDS = ("mobilenet_v2",)


def drawn(seed, name, shape, upwards=False):
    """Values of the tensor of that name: weights so large that the signal keeps its size, and a shift of each channel to
    the one or the other side of a relu's kink, near which a rounding changes a gradient by per cents; upwards only, where a
    channel that is mostly 0 would be normalised alone."""
    count, draws = math.prod(shape), random.Random(f"{seed} {name}")
    if name in ("label", "tokens"):  # the last axis: how many there are to draw from
        return array.array("i", [draws.randrange(shape[-1]) for _ in range(math.prod(shape[:-1]))])
    words = array.array("H")
    words.frombytes(draws.randbytes(2 * count))
    even = (word / 32767.5 - 1 for word in words)
    if name == "softmax.draw":  # uniform in 0 … 1
        return array.array("f", [word / 65536 for word in words])
    if name in ("image", "z"):
        return array.array("f", [1.7 * value for value in even])
    if len(shape) == 1 and name.endswith("weight"):
        return array.array("f", [0.5 + 0.25 * value for value in even])
    if len(shape) == 1:
        return array.array("f", [(0.75 if upwards else math.copysign(0.75, value)) + 0.25 * value for value in even])
    return array.array("f", [math.sqrt(6 * shape[0] / count) * value for value in even])


def projections(name, values):
    """Sums with random signs, divided by the root of their number."""
    draws = random.Random("signs of " + name).randbytes(len(values))
    total, result = math.fsum(values), []
    for bit in range(PROJECTIONS):
        chosen = draws.translate(bytes(byte >> bit & 1 for byte in range(256)))
        result.append((2 * math.fsum(compress(values, chosen)) - total) / math.sqrt(len(values)))
    return result


def rms(values):
    return math.sqrt(math.fsum(v * v for v in values) / len(values)) if len(values) else 0.0


def measures(gradients):
    """What the errors of gradients are relative to. One that is 0 but for roundings, of a shift before a normalisation,
    is measured by all."""
    sizes = {key: math.prod(row["shape"]) for key, row in gradients.items()}
    everything = math.sqrt(sum(sizes[key] * row["rms"] ** 2 for key, row in gradients.items()) / sum(sizes.values()))
    return {key: everything if row["rms"] < 1e-9 * everything else max(row["rms"], 1e-3 * everything)
            for key, row in gradients.items()}


def path_of(name):
    return os.path.join(HERE, "data", "networks", name + ".json")


def scenes(seed, examples, objects, classes):
    """Boxes by their corners, each of a quarter of the side or more, and what is in them: 0 is no object."""
    draws, boxes = random.Random(f"{seed} box"), array.array("f")
    for _ in range(examples * objects):
        left, top = draws.uniform(0, 0.5), draws.uniform(0, 0.5)
        boxes.extend([left, top, left + draws.uniform(0.25, 0.5), top + draws.uniform(0.25, 0.5)])
    label = array.array("i", [draws.randrange(classes) for _ in range(examples * objects)])
    return {"box": ("F32", [examples, objects, 4], boxes), "label": ("I32", [examples, objects], label)}


def feed_of(name, seed, shapes):
    """Inputs and weights: {name: (element, shape, values)}."""
    examples, options = NETWORKS[name]
    if name in DRAWS:
        draw, shape = DRAWS[name]
        shapes = {draw: shape(examples, options), **shapes}
    if name == "dcgan":
        size, random_bytes = options["base"] * 2 ** options["doublings"], random.Random(f"{seed} image")
        image = [examples, options["channels"], size, size]
        feed = {"image": ("U8", image, array.array("B", random_bytes.randbytes(math.prod(image))))}
    elif "vocab" in options:
        tokens = [examples, options["context"] + 1]
        feed = {"tokens": ("I32", tokens, drawn(seed, "tokens", [*tokens, options["vocab"]]))}
    else:
        shapes = {"image": [examples, options["channels"], options["size"], options["size"]], **shapes}
        feed = {"label": ("I32", [examples], drawn(seed, "label", [examples, options["classes"]]))}
        if "objects" in options:
            feed = scenes(seed, examples, options["objects"], options["classes"])
    return feed | {key: ("F32", shape, drawn(seed, key, shape, name in UPWARDS)) for key, shape in shapes.items()}


def run(castor, name, feed):
    """Losses and gradients by name."""
    options = [word for key, value in NETWORKS[name][1].items() for word in ("--set", f"{key}={value}")]
    net = os.path.join(HERE, "..", "..", "models", name + ".net")
    with tempfile.TemporaryDirectory() as folder:
        given, fetched = os.path.join(folder, "in.safetensors"), os.path.join(folder, "out.safetensors")
        safetensors.write(given, feed)
        done = subprocess.run([castor, "run", net, "--graph", "train", "--policy", "f32", "--feed", given, "--fetch", fetched,
                               "--batch", str(NETWORKS[name][0]), *options, *sys.argv[3:]])
        if done.returncode:
            sys.exit(f"castor run: exit {done.returncode}")
        tensors = safetensors.read(fetched)
    losses = {key: values[0] for key, (_, shape, values) in tensors.items() if not shape}
    return losses, {key[5:]: value for key, value in tensors.items() if key.startswith("grad:")}


def main():
    castor, name = sys.argv[1:3]
    with open(path_of(name)) as file:
        reference = json.load(file)
    wanted = reference["gradients"]
    shapes = {key: row["shape"] for key, row in wanted.items()}
    losses, gradients = run(castor, name, feed_of(name, reference["seed"], shapes))
    failures = [f"{key} {losses[key]:.9g}, PyTorch {value:.9g}" for key, value in reference["losses"].items()
                if not abs(losses[key] - value) <= 1e-5 * abs(value)]
    measure = measures(wanted)
    if sorted(gradients) != sorted(wanted):
        failures.append(f"gradients of {sorted(gradients)}, PyTorch has {sorted(wanted)}")
    worst = 0.0
    for key, row in wanted.items() if not failures else ():
        _, shape, values = gradients[key]
        error = rms([a - b for a, b in zip(projections(key, values), row["projections"])])
        worst = max(worst, error / measure[key])
        if shape != row["shape"] or not error <= 1e-4 * measure[key] or not abs(rms(values) - row["rms"]) <= 1e-4 * measure[key]:
            failures.append(f"gradient of {key}: RMSE {error:.3g}, bound {1e-4 * measure[key]:.3g}, shape {shape}")
    for failure in failures:
        print(failure)
    print(f"{name}: {len(wanted)} gradients, RMSE at most {worst:.2g} relative, {len(failures)} differences")
    sys.exit(bool(failures))


if __name__ == "__main__":
    main()
