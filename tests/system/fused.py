"""Fused equals unfused on every model, and one thread equals two: fused.py CASTOR MODEL [POLICY].

One training step on one random batch, twice: as compiled, and with --unfused, where every operation is a kernel that
stores its rounded result. Losses, metrics and all gradients must have the same bytes, half types included; random
draws (dropout) too, since they are keyed and not drawn in turn. Convolutions and matrix products may carry epilogues
in the fused program that are kernels of their own in the other: a library may round differently there. Results of a
program with epilogues are therefore held to the error oracle where their bytes differ: RMSE of 1e-5 relative for f32,
of a unit in the last place for half types.

With one thread and with two, everything is equal but what comes from a sum that oneDNN splits among threads: the
weight gradients of convolutions (which nothing else of a step's results depends on). Sums in f32 in another order agree
to an RMSE of 1e-5 (18,816 products, each sum off by some 2^-24 times their root: single elements go beyond it). Where
the gradient is of a half type a sum near the middle of two numbers may then be rounded to the other one: an element may
differ by its last bit, and few do. They are added up strip by strip where a convolution runs in a strip, so they may
differ in the unfused program too, and when every step runs by itself (--check).

The loss scale is small enough that nothing overflows (at 65536, under half(f16), a gradient of a variance would).
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
SUMS = 1e-5  # sums in f32 that were added up in another order, relative to the RMS
FEW = 1 / 50  # of the elements that may be rounded the other way
LAST_BIT = {"f32": 0, "autocast(f16)": 2**-10, "autocast(bf16)": 2**-7, "half(f16)": 2**-10}  # at most, relative
SETTINGS = {"fashion_resnet": ("--set", "depth=1")}  # every kind of block once


def rms(values):
    return math.sqrt(sum(v * v for v in values) / len(values)) if len(values) else 0.0


def step(model, policy, folder, *flags):
    fetched = os.path.join(folder, "out.safetensors")
    castor("run", f"models/{model}.net", "--graph", "train", "--policy", policy, "--feed",
           os.path.join(folder, "in.safetensors"), "--scale", "dynamic(init = 1024)", "--fetch", fetched,
           "--cache", os.path.join(folder, "cache"), *SETTINGS.get(model, ()), *flags)
    return safetensors.read(fetched)


def oracle(mine, other, tolerance):
    error = rms([a - b for a, b in zip(mine, other)]) / (rms(other) or 1)
    return error, error <= tolerance


def close(mine, other, last_bit):
    """The RMSE of two vectors relative to the RMS, and whether they are sums that agree (f32) or were rounded alike, but
    for few (half types)."""
    differences = [abs(a - b) for a, b in zip(mine, other)]
    size = rms(other) or 1
    moved = [(d, b) for d, b in zip(differences, other) if not d <= SUMS * size]
    near = all(d <= SUMS * size + last_bit * abs(b) for d, b in moved) if last_bit else rms(differences) <= SUMS * size
    return rms(differences) / size, near and len(moved) <= FEW * len(mine)


def equal(what, got, wanted, may_differ, holds):
    """Bytes are equal; where they may differ, `holds` says of both vectors (error, whether that is good)."""
    check(set(got) == set(wanted), f"{what}: {sorted(got)} and {sorted(wanted)}")
    for name in sorted(got):
        mine, other = got[name][2], wanted[name][2]
        if mine.tobytes() != other.tobytes():
            error, good = holds(mine, other)
            print(f"{what}: {name} differs by {error:.2g}")
            check(may_differ(name) and good, f"{what}: {name} differs by {error:.3g} relative")


def has_epilogues(model, policy):
    program = castor("dump", f"models/{model}.net", "--policy", policy, "--emit", "program")
    return re.search(r"(matmul|conv) .* \+(bias|relu)", program) is not None


def convolution_weight(shapes, name):
    return name.startswith("grad:") and len(shapes[name][1]) == 4


def test(model, policies):
    random.seed(20)
    pixels = [random.randrange(256) for _ in range(BATCH * 28 * 28)]
    feed = {"image": ("U8", [BATCH, 28, 28], pixels),
            "label": ("I32", [BATCH], [random.randrange(10) for _ in range(BATCH)])}
    with tempfile.TemporaryDirectory() as folder:
        safetensors.write(os.path.join(folder, "in.safetensors"), feed)
        for policy in policies:
            last_bit = LAST_BIT[policy]
            fused = step(model, policy, folder, "--threads", "2")
            check(len(fused) > 4, f"{model} {policy}: {sorted(fused)}")
            for name, (_, _, values) in fused.items():
                check(all(map(math.isfinite, values)), f"{model} {policy}: {name} is not finite")
            epilogues = has_epilogues(model, policy)
            equal(f"{model} {policy}, unfused", step(model, policy, folder, "--threads", "2", "--unfused"), fused,
                  lambda name: epilogues or convolution_weight(fused, name),
                  lambda mine, other: oracle(mine, other, max(last_bit / 2, SUMS)))
            for what, flags in (("one thread", ("--threads", "1")), ("step by step", ("--threads", "2", "--check"))):
                equal(f"{model} {policy}, {what}", step(model, policy, folder, *flags), fused,
                      lambda name: convolution_weight(fused, name), lambda mine, other: close(mine, other, last_bit))


test(sys.argv[2], sys.argv[3:] or LAST_BIT)
finish()
