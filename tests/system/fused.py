"""Fused equals unfused on every model, and one thread equals two: fused.py CASTOR [MODEL].

One training step on one random batch, twice: as compiled, and with --unfused, where every operation is a kernel that
stores its rounded result. Losses, metrics and all gradients must have the same bytes, half types included; random
draws (dropout) too, since they are keyed and not drawn in turn. Convolutions and matrix products may carry epilogues
in the fused program that are kernels of their own in the other: a library may round differently there. Results of a
program with epilogues are therefore held to the error oracle where their bytes differ: RMSE of 1e-5 relative for f32,
of a unit in the last place for half types.

With one thread and with two, everything is equal but what comes from a sum that oneDNN splits among threads: the
weight gradients of convolutions (which nothing else of a step's results depends on), held to the oracle too.
"""
import math
import os
import random
import re
import sys
import tempfile

from castor import ROOT, castor, check, finish

sys.path.insert(0, os.path.join(ROOT, "tests", "pytorch"))
import safetensors  # noqa: E402

BATCH = 24  # no multiple of the vector length
POLICIES = {"f32": 1e-5, "autocast(f16)": 2**-11, "autocast(bf16)": 2**-8, "half(f16)": 2**-11}
SETTINGS = {"fashion_resnet": ("--set", "depth=1")}  # every kind of block once


def rms(values):
    return math.sqrt(sum(v * v for v in values) / len(values)) if len(values) else 0.0


def step(model, policy, folder, *flags):
    fetched = os.path.join(folder, "out.safetensors")
    castor("run", f"models/{model}.net", "--graph", "train", "--policy", policy, "--feed",
           os.path.join(folder, "in.safetensors"), "--fetch", fetched, "--cache", os.path.join(folder, "cache"),
           *SETTINGS.get(model, ()), *flags)
    return safetensors.read(fetched)


def compare(what, got, wanted, tolerance, may_differ):
    check(set(got) == set(wanted), f"{what}: {sorted(got)} and {sorted(wanted)}")
    for name in sorted(got):
        mine, other = got[name][2], wanted[name][2]
        same = mine.tobytes() == other.tobytes()
        pairs = [(a, b) for a, b in zip(mine, other) if math.isfinite(a) or math.isfinite(b)]
        error = 0 if same else rms([a - b for a, b in pairs]) / (rms([b for _, b in pairs]) or 1)
        if not same:
            print(f"{what}: {name} differs by {error:.2g}")
        check(same or (may_differ(name) and error <= tolerance), f"{what}: {name} differs by {error:.3g} relative")


def has_epilogues(model, policy):
    program = castor("dump", f"models/{model}.net", "--policy", policy, "--emit", "program")
    return re.search(r"(matmul|conv) .* \+(bias|relu)", program) is not None


def convolution_weight(shapes, name):
    return name.startswith("grad:") and len(shapes[name][1]) == 4


def test(model):
    random.seed(20)
    pixels = [random.randrange(256) for _ in range(BATCH * 28 * 28)]
    feed = {"image": ("U8", [BATCH, 28, 28], pixels),
            "label": ("I32", [BATCH], [random.randrange(10) for _ in range(BATCH)])}
    with tempfile.TemporaryDirectory() as folder:
        safetensors.write(os.path.join(folder, "in.safetensors"), feed)
        for policy, tolerance in POLICIES.items():
            fused = step(model, policy, folder, "--threads", "2")
            check(len(fused) > 4 and math.isfinite(fused["loss"][2][0]), f"{model} {policy}: {sorted(fused)}")
            compare(f"{model} {policy}, unfused", step(model, policy, folder, "--threads", "2", "--unfused"), fused,
                    tolerance, lambda name: has_epilogues(model, policy))
            # The library adds up a convolution's weight gradient in an order of its own for each number of threads;
            # where that gradient is f16, the last bit of f16 may differ.
            compare(f"{model} {policy}, one thread", step(model, policy, folder, "--threads", "1"), fused,
                    1e-3 if policy.startswith("half") else 1e-5, lambda name: convolution_weight(fused, name))


for model in sys.argv[2:] or [name[:-4] for name in sorted(os.listdir(os.path.join(ROOT, "models")))
                              if name.endswith(".net")]:
    test(model)
finish()
