"""Layers of the prelude against PyTorch's numbers: layers.py CASTOR POLICY BOUND [FLAGS].

Every value of layers.net, and every gradient of its loss, must agree in RMSE to BOUND times the larger of its RMS and, for
gradients, a thousandth of the RMS over all of them. Indices must be equal under f32; what is rounded may have another order.
"""
import math
import os
import subprocess
import sys
import tempfile

import safetensors

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.append(os.path.join(HERE, "..", "system"))
from castor import need_sim  # noqa: E402: it lies in the folder just named
# Much is compiled here and little run; what kernels compute does not depend on optimisation.
os.environ["CC"] = os.path.join(HERE, "..", "fuzz", "quick-cc")


def run(castor, policy, feed, names, flags):
    """Values and gradients of layers.net at the parameters in `feed`."""
    with tempfile.TemporaryDirectory() as folder:
        given, fetched = os.path.join(folder, "in.safetensors"), os.path.join(folder, "out.safetensors")
        safetensors.write(given, feed)
        done = subprocess.run([castor, "run", os.path.join(HERE, "layers.net"), "--graph", "train", "--policy", policy, "--feed",
                               given, "--fetch", fetched, "--values", ",".join(names), *flags])
        if done.returncode:
            sys.exit(f"castor run: exit {done.returncode}")
        return safetensors.read(fetched)


def rms(values):
    return math.sqrt(sum(v * v for v in values) / len(values)) if len(values) else 0.0


def part(tensors, prefix):
    return {name[len(prefix):]: value for name, value in tensors.items() if name.startswith(prefix)}


def differences(got, wanted, bound, least):
    """How many tensors are off; a NaN is."""
    count = 0
    for name, (_, shape, values) in wanted.items():
        _, own_shape, mine = got[name]
        error = rms([a - b for a, b in zip(mine, values)])
        limit = bound * max(rms(values), least)
        if list(own_shape) != list(shape) or not error <= limit:
            count += 1
            print(f"{name}: {own_shape}, PyTorch {shape}; RMSE {error:.3g}, bound {limit:.3g}")
    return count


def main():
    castor, policy, bound, *flags = sys.argv[1:]
    if "sim" in flags:
        need_sim()
    reference = safetensors.read(os.path.join(HERE, "data", "layers.safetensors"))
    values, gradients = part(reference, "value."), part(reference, "grad.")
    if policy != "f32":
        values = {name: value for name, value in values.items() if value[0] == "F32"}
    feed = {name: tensor for name, tensor in reference.items() if not name.startswith(("value.", "grad."))}
    got = run(castor, policy, feed, [*values, *("grad:" + name for name in gradients)], flags)
    everything = rms([v for _, _, tensor in gradients.values() for v in tensor])
    failures = differences(got, values, float(bound), 0.0)
    failures += differences(part(got, "grad:"), gradients, float(bound), 1e-3 * everything)
    print(f"{len(values)} values and {len(gradients)} gradients, {policy}: {failures} differences")
    sys.exit(failures != 0)


main()
