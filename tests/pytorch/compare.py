"""Castor against PyTorch's numbers, f32: compare.py CASTOR NET OPTIMIZER.

At each of ten steps the loss agrees to 1e-5 relative, and every gradient's RMSE is at most 1e-4 times the larger of
its RMS and a thousandth of the RMS over all gradients.
"""
import math
import os
import subprocess
import sys
import tempfile

import safetensors

HERE = os.path.dirname(os.path.abspath(__file__))
MINIMIZE = {
    "adam": "loss with adam(lr = 1e-2)",
    "adamw": "loss with adamw(lr = 1e-2, weight_decay = 0.1)",
    "sgd": "loss with sgd(lr = 0.1, momentum = 0.9, weight_decay = 5e-4)",
}


def run(castor, net, optimizer, feed, folder, *flags):
    """One `castor run` on the tensors of `feed`; gives what it fetched."""
    given, fetched = os.path.join(folder, "in.safetensors"), os.path.join(folder, "out.safetensors")
    safetensors.write(given, feed)
    done = subprocess.run([castor, "run", os.path.join(HERE, net + ".net"), "--graph", "train", "--policy", "f32",
                           "--minimize", MINIMIZE[optimizer], "--feed", given, "--fetch", fetched, *flags])
    if done.returncode:
        sys.exit(f"castor run: exit {done.returncode}")
    return safetensors.read(fetched)


def rms(values):
    return math.sqrt(sum(v * v for v in values) / len(values)) if len(values) else 0.0


def main():
    castor, net, optimizer = sys.argv[1:4]
    reference = safetensors.read(os.path.join(HERE, "data", f"{net}_{optimizer}.safetensors"))
    losses = reference["losses"][2]
    start = {name: value for name, value in reference.items() if not name.startswith("grad.") and name != "losses"}
    batch = {name: start[name] for name in ("image", "label")}
    names = [name for name in start if name not in batch]
    failures = 0
    with tempfile.TemporaryDirectory() as folder:
        for step, wanted in enumerate(losses):
            feed = dict(start)
            if step:
                after = run(castor, net, optimizer, start, folder, "--steps", str(step))
                weights = {name: value for name, value in after.items() if name != "loss" and not name.startswith("train/")}
                feed = {**batch, **weights}
            got = run(castor, net, optimizer, feed, folder)
            loss = got["loss"][2][0]
            if abs(loss - wanted) > 1e-5 * abs(wanted):
                failures += 1
                print(f"step {step}: loss {loss:.9g}, PyTorch {wanted:.9g}")
            gradients = {name: reference[f"grad.{step}.{name}"][2] for name in names}
            everything = rms([v for values in gradients.values() for v in values])
            for name, values in gradients.items():
                mine = got["grad:" + name][2]
                error = rms([a - b for a, b in zip(mine, values)])
                bound = 1e-4 * max(rms(values), 1e-3 * everything)
                if len(mine) != len(values) or not error <= bound:
                    failures += 1
                    print(f"step {step}: gradient of {name}: RMSE {error:.3g}, bound {bound:.3g}")
    print(f"{net} with {optimizer}: {len(losses)} steps, {failures} differences")
    sys.exit(failures != 0)


main()
