"""Loss scaling is real: an overflowed step changes nothing but the scale, the scale grows back, a network with tiny
gradients trains with scaling alone, and one whose activations overflow stops, or trains with one rule of policy. Where
an overflow began is told alike by all devices: scaling.py CASTOR host, and for that last scaling.py CASTOR sim."""
import json
import os
import random
import sys
import tempfile

from castor import ROOT, castor, check, finish, need_sim

sys.path.insert(0, os.path.join(ROOT, "tests", "pytorch"))
import safetensors

NET = "tests/nets/states.net"


def step(folder, feed, steps):
    """All variables after some training steps on one feed."""
    given, fetched = os.path.join(folder, "in.safetensors"), os.path.join(folder, "out.safetensors")
    safetensors.write(given, feed)
    castor("run", NET, "--graph", "train", "--feed", given, "--fetch", fetched, "--steps", str(steps))
    fetched = safetensors.read(fetched)
    fetched.pop("loss", None)
    return fetched


def scale_of(variables):
    return variables["train/scale"][2][0]


def check_skip():
    draw = random.Random(1)
    good = ("F32", [16, 1, 8, 8], [draw.gauss(0, 1) for _ in range(1024)])
    label = ("I32", [16], [draw.randrange(4) for _ in range(16)])
    moves = {"train/scale", "train/clean", "train/left", "train/attempt"}
    with tempfile.TemporaryDirectory() as folder:
        before = step(folder, {"x": good, "label": label}, 2)
        check(scale_of(before) == 1024, f"scale {scale_of(before)} after two clean steps, not 1024")
        for worst in (1e6, float("inf"), float("nan")):
            bad = ("F32", good[1], [worst if i == 77 else v for i, v in enumerate(good[2])])
            after = step(folder, {**before, "x": bad, "label": label}, 1)
            check(scale_of(after) == 512, f"scale {scale_of(after)} after an overflow by {worst}, not 512")
            same = [name for name in before if name not in moves]
            check(len(same) > 15, "too few variables were fetched")
            for name in same:
                check(bytes(before[name][2]) == bytes(after[name][2]), f"an overflow by {worst} changed {name}")
        growth = step(folder, {**after, "x": good, "label": label}, 3)
        check(scale_of(growth) == 1024, f"scale {scale_of(growth)} after three clean steps, not 1024")
        check(scale_of(step(folder, {**growth, "x": good, "label": label}, 30)) == 4096, "the scale leaves its maximum")
        check(scale_of(step(folder, {**growth, "x": bad, "label": label}, 30)) == 64, "the scale leaves its minimum")


def rows_of(run):
    with open(os.path.join(run, "log.jsonl")) as file:
        return [json.loads(line) for line in file]


def accuracy_of(run):
    return [row["eval"]["accuracy"] for row in rows_of(run) if "eval" in row][-1]


def check_underflow():
    results = {}
    with tempfile.TemporaryDirectory() as folder:
        for scale in ("dynamic(init = 16777216)", "none"):
            run = os.path.join(folder, scale[:4])
            castor("train", "models/underflow.net", "--scale", scale, "--out", run, "--quiet")
            results[scale] = accuracy_of(run)
    scaled, unscaled = results.values()
    check(scaled > 0.7, f"with scaling the accuracy is {scaled}")
    check(unscaled < 0.3, f"without scaling it trains all the same: {unscaled}")


def check_overflow():
    """The scale is at its minimum after 16 steps, and 50 on end are too many."""
    with tempfile.TemporaryDirectory() as folder:
        stopped, fixed = os.path.join(folder, "stopped"), os.path.join(folder, "fixed")
        castor("train", "models/overflow.net", "--steps", "120", "--out", stopped, "--quiet", code=4)
        rows = rows_of(stopped)
        check(len(rows) == 65 and rows[-1]["skipped"] == 65 and rows[-1]["scale"] == 1, f"it stopped with {rows[-1]}")
        castor("train", "models/overflow.net", "--policy", "models/overflow.policy", "--steps", "120", "--out", fixed,
               "--quiet")
        check(rows_of(fixed)[-2]["skipped"] == 0, "with the rule it overflows all the same")
        check(accuracy_of(fixed) > 0.5, f"with the rule the accuracy is {accuracy_of(fixed)}")


def check_origin():
    """Where an overflow began is told alike by the host and by the tails of a GPU's convolutions."""
    origins = {}
    for device in ("host", "sim"):
        with tempfile.TemporaryDirectory() as folder:
            run = os.path.join(folder, "run")
            castor("train", "tests/nets/tails.net", "--steps", "4", "--out", run, "--device", device, "--quiet")
            origins[device] = [(row.get("overflow"), row["skipped"], row["scale"]) for row in rows_of(run)]
    check(origins["host"] == origins["sim"], f"overflows: {origins}")
    check(all("backward of mul" in told[0] for told in origins["sim"][:2]), f"overflows: {origins['sim']}")
    program = castor("dump", "tests/nets/tails.net", "--device", "sim", "--arch", "sm_80", "--emit", "program")
    gradients = [line for line in program.splitlines() if " kernel conv_data" in line]
    check(len(gradients) == 2 and all("_tail" in line for line in gradients), f"gradients without tails: {gradients}")


if sys.argv[2] == "sim":
    need_sim()
    check_origin()
else:
    check_skip()
    check_underflow()
    check_overflow()
finish()
