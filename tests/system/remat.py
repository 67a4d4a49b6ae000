"""With --memory-budget a step takes less memory and gives the same bits: remat.py CASTOR [DEVICE].

Reduced networks are trained for some steps with and without a budget; parameters, optimizer state and the scale that
the checkpoint holds, and the losses of the log, must have the same bytes. (On a GPU, in halves, GPT's are only near:
without a budget cuBLASLt takes gelu of sums before it rounds them.) The networks have what could go wrong: draws
that are made again (GPT's dropout), statistics that are written along with what is made again (ResNet's batch norm),
micro-batches, and steps that overflow.
"""
import json
import os
import re
import sys
import tempfile

from castor import ROOT, castor, check, finish, need_sim

sys.path.insert(0, os.path.join(ROOT, "tests", "pytorch"))
import safetensors  # noqa: E402

IMAGES = "synthetic(examples = 64, image = normal(0, 1), label = classes)"
TOKENS = "synthetic(examples = 16, tokens = classes)"
GPT = ["models/gpt.net", "--batch", "4", "--data", TOKENS, "--set", "vocab=31", "--set", "context=32", "--set", "width=32",
       "--set", "heads=2", "--set", "layers=3"]
RESNET = ["models/resnet18_cifar.net", "--batch", "16", "--data", IMAGES]
LARGER = RESNET + ["--set", "size=32", "--set", "width=8"]
SMALLER = RESNET + ["--set", "size=16", "--set", "width=4"]  # the simulated GPU takes its time
OVERFLOWS = ["--scale", "dynamic(init = 16777216, backoff = 0.125)"]
CASES = {
    "host": {
        "gpt": (GPT, ("f32", "autocast(f16)")),
        "gpt in micro-batches": (GPT + ["--accumulate", "2"], ("autocast(f16)",)),
        "resnet": (LARGER, ("f32", "autocast(f16)")),
        "resnet that overflows": (LARGER + OVERFLOWS, ("autocast(f16)",)),
    },
    "sim": {
        "gpt": (GPT, ("f32", "autocast(f16)")),
        "resnet": (SMALLER, ("f32",)),
        "resnet that overflows": (SMALLER + OVERFLOWS, ("autocast(f16)",)),
    },
}
SHARE = 0.6


def train(folder, name, flags, *more):
    """What four steps leave behind: tensors by name, and the log without its times."""
    run = os.path.join(folder, name)
    castor("train", *flags, "--steps", "4", "--quiet", "--out", run, "--cache", os.path.join(folder, "cache"), *more)
    with open(os.path.join(run, "log.jsonl")) as file:
        rows = [json.loads(line) for line in file]
    losses = [{key: row[key] for key in row if key in ("step", "loss", "scale", "skipped", "overflow", "grad_norm")} for row in rows]
    return safetensors.read(os.path.join(run, "last.safetensors")), losses


def check_near(name, log, plain_log):
    """Losses and norms of steps that round otherwise in places."""
    check([row.keys() for row in log] == [row.keys() for row in plain_log], f"{name}: log {log}, not {plain_log}")
    for row, other in zip(log, plain_log):
        for key in row:
            check(abs(row[key] - other[key]) <= 2e-3 * abs(other[key]), f"{name}: {key} {row[key]}, not {other[key]}")


def compare(folder, name, flags, near):
    share = SHARE + 0.05 * near  # so small a network has little else to let go
    budget = ("--memory-budget", f"{100 * share:.0f}%")
    plain = json.loads(castor("ledger", *flags, "--json"))
    small = json.loads(castor("ledger", *flags, "--json", *budget, "--verify-each"))
    check(small["arena_peak"] <= share * plain["arena_peak"], f"{name}: {small['arena_peak']} bytes, not {share} of {plain['arena_peak']}")
    check(small["flops_recomputed"] > 0 and plain["flops_recomputed"] == 0, f"{name}: flops again {small['flops_recomputed']}")
    added = small["flops"] - plain["flops"]
    slack = 0.02 if near else 0.001  # gelu appended to a product is not counted
    check(abs(added - small["flops_recomputed"]) <= slack * small["flops_recomputed"] + 100,
          f"{name}: {added} flops more, {small['flops_recomputed']} said to be done again")
    (got, log), (wanted, plain_log) = (train(folder, run, flags, *more)
                                     for run, more in (("small", budget), ("plain", ())))
    if near:
        check_near(name, log, plain_log)
        return
    check(log == plain_log and log, f"{name}: log {log}, not {plain_log}")
    check(set(got) == set(wanted) and len(got) > 20, f"{name}: {sorted(set(got) ^ set(wanted))}")
    different = [key for key in wanted if key in got and got[key][2].tobytes() != wanted[key][2].tobytes()]
    check(not different, f"{name}: {different} differ")


def test_refusal():
    """What cannot be reached is told, with what can; bad sizes are wrong usage."""
    words = ["ledger", *GPT, "--device", "host"]
    plain = json.loads(castor(*words, "--json"))
    text = castor(*words, "--memory-budget", "1%", code=1)
    check(text == "", f"a budget of 1 %: {text}")
    for wrong in ("0%", "100%", "2X", "-1G", "G", "", "1e30G", "nan", "0.1"):
        castor(*words, f"--memory-budget={wrong}", code=2)
    whole = json.loads(castor(*words, "--json", "--memory-budget", "1G"))
    check(whole["arena_peak"] == plain["arena_peak"] and whole["flops_recomputed"] == 0, "1G is enough, yet it recomputes")
    check(whole["arena_budget"] == 10**9, f"1G are {whole['arena_budget']} bytes")
    exact = json.loads(castor(*words, "--json", "--memory-budget", f"{plain['arena_peak'] * 0.7 / 1024:.3f}KiB"))
    check(exact["arena_peak"] <= exact["arena_budget"] <= 0.7 * plain["arena_peak"], f"{exact['arena_peak']} bytes")


def main():
    device = sys.argv[2] if len(sys.argv) > 2 else "host"
    flags = ["--device", device] + (["--arch", "sm_80"] if device == "sim" else [])
    if device == "sim":
        need_sim()
    os.environ["CC"] = os.path.join(ROOT, "tests", "fuzz", "quick-cc")  # what is computed does not depend on it
    with tempfile.TemporaryDirectory() as folder:
        for name, (words, policies) in CASES[device].items():
            for policy in policies:
                compare(os.path.join(folder, re.sub(r"\W", "_", name + policy)), f"{name} under {policy} on {device}",
                        words + flags + ["--policy", policy], device == "sim" and name == "gpt" and policy != "f32")
    if device == "host":
        test_refusal()
    finish()


main()
