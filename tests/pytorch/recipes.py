"""The recipes of models/recipes against PyTorch's numbers, step by step: recipes.py CASTOR NAME.

Castor trains on the data of the reference (recipes_reference.py), one `castor run` a step, with all its variables fed
back. After each step scales and step counters must be PyTorch's exactly, so the same optimizers skipped the same steps;
losses agree to 0.5 %; and the change of every parameter over that step agrees in RMSE to 2 % of its RMS, or of the
smallest change that f16 gradients resolve. A skipped step must leave every variable of its optimizer as it was, bit for
bit. And each recipe trains as it stands, in the standard layout.
"""
import array
import math
import os
import subprocess
import sys
import tempfile

import safetensors

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.join(HERE, "..", "..")
LOSS, CHANGE, RESOLUTION = 5e-3, 2e-2, 2.0 ** -11
OPTIONS = {"several": ["--scale", "dynamic(init = 131072, interval = 2)"]}
failures = 0


def check(good, message):
    global failures
    if not good:
        failures += 1
        print(message)


def run(castor, name, feed, folder):
    """One training step; gives all variables and the losses."""
    given, fetched = os.path.join(folder, "in.safetensors"), os.path.join(folder, "out.safetensors")
    safetensors.write(given, feed)
    done = subprocess.run([castor, "run", os.path.join(ROOT, "models", "recipes", name + ".net"), "--graph", "train",
                           "--steps", "1", "--feed", given, "--fetch", fetched, *OPTIONS.get(name, [])])
    if done.returncode:
        sys.exit(f"castor run: exit {done.returncode}")
    return safetensors.read(fetched)


def check_file(castor, name, folder):
    path = os.path.join(ROOT, "models", "recipes", name + ".net")
    with open(path) as file:
        layout = subprocess.run([castor, "fmt", path], capture_output=True, text=True)
        check(layout.stdout == file.read(), f"fmt changes {name}.net")
    train = subprocess.run([castor, "train", path, "--quiet", "--steps", "6", "--out", os.path.join(folder, "run")])
    check(train.returncode == 0, f"castor train {name}.net: exit {train.returncode}")


def rms(values):
    return math.sqrt(sum(v * v for v in values) / len(values)) if len(values) else 0.0


def part(tensors, prefix):
    return {name[len(prefix):]: value for name, value in tensors.items() if name.startswith(prefix)}


def compare_parameter(step, name, before, got, wanted):
    """Changes of one step, each from its own start: what was off before must not count again."""
    mine = [b - a for a, b in zip(before[0], got)]
    theirs = [b - a for a, b in zip(before[1], wanted)]
    error = rms([a - b for a, b in zip(mine, theirs)])
    bound = CHANGE * max(rms(theirs), RESOLUTION * rms(wanted))
    check(error <= bound, f"step {step}: {name} changes by {rms(mine):.3g}, PyTorch by {rms(theirs):.3g}: "
                          f"RMSE {error:.3g}, bound {bound:.3g}")
    drift = rms([a - b for a, b in zip(got, wanted)])
    check(drift <= 1e-2 * rms(wanted), f"step {step}: {name} has drifted by {drift:.3g} of {rms(wanted):.3g}")


def compare_step(step, got, before, previous, wanted, losses):
    for name, (_, _, value) in losses.items():
        loss = got[name][2][0]
        same = loss == value[0] or abs(loss - value[0]) <= LOSS * abs(value[0]) or not math.isfinite(value[0])
        check(same and math.isfinite(loss) == math.isfinite(value[0]), f"step {step}: {name} {loss}, PyTorch {value[0]}")
    for name, (_, _, value) in wanted.items():
        mine = got[name][2]
        if len(value) == 1 and name.startswith("train/"):
            check(mine[0] == value[0], f"step {step}: {name} is {mine[0]}, PyTorch's {value[0]}")
        elif bytes(array.array("f", value)) == bytes(array.array("f", previous[name][2])):
            check(bytes(mine) == bytes(before[name][2]), f"step {step}: {name} changed, though its step was skipped")
        else:
            compare_parameter(step, name, (before[name][2], previous[name][2]), mine, value)


def main():
    castor, name = sys.argv[1:3]
    reference = safetensors.read(os.path.join(HERE, "data", "recipes", name + ".safetensors"))
    before = previous = averages_begin(part(reference, "start/"), part(reference, "after/0/"))
    skipped = 0
    with tempfile.TemporaryDirectory() as folder:
        check_file(castor, name, folder)
        step = 0
        while part(reference, f"feed/{step}/"):
            got = run(castor, name, {**before, **part(reference, f"feed/{step}/")}, folder)
            wanted = part(reference, f"after/{step}/")
            losses = part(reference, f"loss/{step}/")
            start = {**got, **before} if step == 0 else before
            compare_step(step, got, start, previous, wanted, losses)
            skipped += any(previous.get(key, ("", [], [0]))[2][0] == value[2][0]
                           for key, value in wanted.items() if key.startswith("train/step"))
            before = {key: value for key, value in got.items() if key not in losses and is_variable(key, reference)}
            previous = {**previous, **wanted}
            step += 1
    check(step and 0 < skipped < step, f"{skipped} of {step} steps were skipped: nothing is shown by that")
    print(f"{name}: {step} steps, {skipped} with a skip, {failures} differences")
    sys.exit(failures != 0)


def averages_begin(start, after):
    """Before the first step an average is the parameter."""
    averages = {f"train/{name}.average": value for name, value in start.items()}
    return {**{name: value for name, value in averages.items() if name in after}, **start}


def is_variable(name, reference):
    return name.startswith("train/") or "start/" + name in reference


main()
