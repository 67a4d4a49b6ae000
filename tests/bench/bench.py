"""What the models cost on this machine, side by side with PyTorch on the same cores.

bench.py --castor BINARY [--peers] [--steps] [CASE ...]

The cases are those of `CASES`, all of them where none is named. For each in f32, f16 and bf16: compile time with a cold
and a warm cache, step time, examples a second, the share of the step in products and convolutions, and the arena. With
--peers PyTorch runs between our measurements (so that both see the same machine) and its best time stands beside ours
as a ratio.
--steps prints step times alone. --types f32 leaves the others out (bf16 is slow where the CPU has no instructions for
it). --json FILE keeps the rows.
"""
import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
MODELS = os.path.join(HERE, "..", "..", "models")
IMAGES = "synthetic(examples = 256, image = normal(0, 1), label = classes)"
TOKENS = "synthetic(examples = 256, tokens = classes)"


def flags(batch, data, **options):
    return ["--batch", str(batch), "--data", data, *(word for pair in options.items() for word in ("--set", "{}={}".format(*pair)))]


# The model, its flags, and how many steps are timed.
CASES = {
    "fashion_mlp": ("fashion_mlp", [], 100),
    "fashion_cnn": ("fashion_cnn", [], 100),
    "fashion_resnet": ("fashion_resnet", [], 100),
    "resnet18": ("resnet18_cifar", flags(64, IMAGES), 5),
    "gpt": ("gpt", flags(8, TOKENS, vocab=256, context=256, width=384, heads=6, layers=6, drop=0), 5),
    "lstm": ("char_lstm", flags(32, TOKENS, width=256, context=64), 10),
    "vit": ("vit_s16", flags(64, IMAGES, size=32, classes=10, patch=4, width=192, depth=6, heads=3), 5),
}
POLICIES = [("f32", ["--policy", "f32"]), ("f16", ["--policy", "autocast(f16)"]), ("bf16", ["--policy", "autocast(bf16)"])]


def profile(castor, case, policy, cache, steps):
    """One `castor profile` as its JSON object."""
    model, words, _ = CASES[case]
    command = [castor, "profile", os.path.join(MODELS, model + ".net"), "--json", "--cache", cache, "--steps", str(steps), *words,
               *policy]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"{' '.join(command)}: exit {done.returncode}\n{done.stderr}")
    return json.loads(done.stdout)


def measure(castor, case, policy, rounds):
    """Compile times from a cold and a warm cache, and the fastest of some warm rounds."""
    cache = tempfile.mkdtemp(prefix="castor-bench-")
    try:
        cold = profile(castor, case, policy, cache, 2)
        warm = [profile(castor, case, policy, cache, CASES[case][2]) for _ in range(rounds)]
    finally:
        shutil.rmtree(cache, ignore_errors=True)
    best = min(warm, key=lambda row: row["step_ms"])
    best["compile_cold_ms"] = cold["compile_ms"]
    best["compile_warm_ms"] = min(row["compile_ms"] for row in warm)
    return best


def peer(case, types):
    """PyTorch's step times in ms by (element type, variant), measured in its own process."""
    python = os.path.join(HERE, "..", "..", "build", "peers", "bin", "python")
    python = os.environ.get("CASTOR_PEER_PYTHON", python)
    command = [python, os.path.join(HERE, "peer.py"), case, *types]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True)
    if done.returncode:
        sys.exit(f"{' '.join(command)}: exit {done.returncode}")
    return json.loads(done.stdout.strip().split("\n")[-1])


def print_steps(castor, cases, policies):
    for case in cases:
        for name, policy in policies:
            row = measure(castor, case, policy, 1)
            print(f"{case:22} {name:5} {row['step_ms']:8.2f} ms a step "
                  f"{row['examples_per_s']:10.0f} examples/s")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--castor", required=True)
    parser.add_argument("--peers", action="store_true")
    parser.add_argument("--steps", action="store_true")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--types", default="f32,f16,bf16", help="of these, as usual all")
    parser.add_argument("--json")
    parser.add_argument("cases", nargs="*", metavar="CASE", help=", ".join(CASES))
    options = parser.parse_args()
    cases = options.cases or list(CASES)
    for case in cases:
        if case not in CASES:
            parser.error(f"no case '{case}': {', '.join(CASES)}")
    types = options.types.split(",")
    policies = [row for row in POLICIES if row[0] in types]
    if options.steps:
        return print_steps(options.castor, cases, policies)

    rows = []
    head = f"{'model':16} {'type':5} {'cold s':>7} {'warm s':>7} {'step ms':>8} {'ex/s':>8} {'products':>8} {'arena MB':>8}"
    print(head + (f" {'PyTorch':>8} {'ratio':>6}  best variant" if options.peers else ""))
    for case in cases:
        peers = peer(case, [name for name, _ in policies if name != "f16"]) if options.peers else {}
        for name, policy in policies:
            row = measure(options.castor, case, policy, options.rounds)
            line = (f"{case:16} {name:5} {row['compile_cold_ms'] / 1e3:7.2f} "
                    f"{row['compile_warm_ms'] / 1e3:7.2f} {row['step_ms']:8.2f} {row['examples_per_s']:8.0f} "
                    f"{row['library_share']:8.0%} {row['arena_bytes'] / 1e6:8.1f}")
            times = {key: ms for key, ms in peers.items() if key.startswith(name + " ")}
            if times:
                best = min(times, key=times.get)
                row["peer_ms"], row["peer"] = times[best], best
                line += f" {times[best]:8.2f} {times[best] / row['step_ms']:5.2f}x  {best}"
            print(line, flush=True)
            rows.append({"model": case, "type": name, **row, "kernels": None})
    if options.json:
        with open(options.json, "w") as file:
            json.dump(rows, file, indent=1)


if __name__ == "__main__":
    main()
