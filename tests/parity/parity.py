"""Mixed precision equals f32: trains models over seeds under several policies and compares the final test accuracy.

parity.py --castor BINARY [--seeds 5] [--epochs N] [--out results.json] [--journal FILE] [MODEL.net ...]

Runs have one thread each and as many go side by side as there are cores. For each model and mixed policy: the
difference of means to f32 and Welch's t test (B. L. Welch, 1947). Fails where a mean differs by more than 0.5 points or
the test is significant at 1 %. The results are committed with their seeds; those of models not named stay.

A run that has ended is a line of the journal and is not repeated with the same binary and model: an interrupted parity
goes on where it stopped, and with fewer --seeds it ends at once with those that are there.
"""
import argparse
import concurrent.futures
import hashlib
import json
import math
import os
import subprocess
import sys
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
EPOCHS = {"fashion_mlp": 5, "fashion_cnn": 5}
MODELS = [os.path.join(HERE, "..", "..", "models", name + ".net") for name in EPOCHS]
POLICIES = ["f32", "autocast(f16)", "autocast(bf16)"]


def beta_fraction(a, b, x):
    """Continued fraction of the incomplete beta function (Lentz's method)."""
    c, d = 1.0, 1.0 / (1.0 - (a + b) * x / (a + 1.0))
    total = d
    for m in range(1, 300):
        even = m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m))
        odd = -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1))
        for term in (even, odd):
            d = 1.0 / (1.0 + term * d)
            c = 1.0 + term / c
            total *= c * d
        if abs(c * d - 1.0) < 1e-14:
            break
    return total


def incomplete_beta(a, b, x):
    """The regularised incomplete beta function I_x(a, b)."""
    if x <= 0 or x >= 1:
        return float(x >= 1)
    front = math.exp(math.lgamma(a + b) - math.lgamma(a) - math.lgamma(b) + a * math.log(x) + b * math.log(1 - x))
    if x < (a + 1) / (a + b + 2):
        return front * beta_fraction(a, b, x) / a
    return 1 - front * beta_fraction(b, a, 1 - x) / b


def welch(a, b):
    """Two-sided p value of Welch's test for equal means."""
    def moments(values):
        mean = sum(values) / len(values)
        return mean, sum((v - mean) ** 2 for v in values) / (len(values) - 1) / len(values)
    (mean_a, error_a), (mean_b, error_b) = moments(a), moments(b)
    if error_a + error_b == 0:
        return 1.0 if mean_a == mean_b else 0.0
    t = (mean_a - mean_b) / math.sqrt(error_a + error_b)
    freedom = (error_a + error_b) ** 2 / (error_a ** 2 / (len(a) - 1) + error_b ** 2 / (len(b) - 1))
    return incomplete_beta(freedom / 2, 0.5, freedom / (freedom + t * t))


def accuracy(castor, model, policy, seed, epochs):
    """Test accuracy after the last epoch of one training run."""
    with tempfile.TemporaryDirectory() as folder:
        run = os.path.join(folder, "run")
        command = [castor, "train", model, "--policy", policy, "--seed", str(seed), "--epochs", str(epochs), "--out",
                   run, "--quiet", "--threads", "1"]
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode:
            sys.exit(f"{' '.join(command)}: exit {done.returncode}\n{done.stderr}")
        with open(os.path.join(run, "log.jsonl")) as file:
            rows = [json.loads(line) for line in file]
    return [row["eval"]["accuracy"] for row in rows if "eval" in row][-1]


def digest(path):
    with open(path, "rb") as file:
        return hashlib.sha256(file.read()).hexdigest()[:16]


class Journal:
    """The accuracies of the runs that have ended, by what determines them; a line each of a file."""

    def __init__(self, path, castor):
        self.path, self.castor, self.ended = path, digest(castor), {}
        if os.path.exists(path):
            with open(path) as file:
                self.ended = {tuple(key): value for key, value in map(json.loads, file)}

    def accuracy(self, castor, model, policy, seed, epochs):
        key = (self.castor, digest(model), policy, seed, epochs)
        if key not in self.ended:
            self.ended[key] = accuracy(castor, model, policy, seed, epochs)
            with open(self.path, "a") as file:
                file.write(json.dumps([key, self.ended[key]]) + "\n")
            print(f"{os.path.basename(model)} {policy} seed {seed}: {100 * self.ended[key]:.2f} %", file=sys.stderr,
                  flush=True)
        return self.ended[key]


def measure(options, journal, model, epochs):
    """Accuracies of all seeds by policy. All policies of a seed come before the next seed."""
    runs = [(policy, seed) for seed in range(1, options.seeds + 1) for policy in POLICIES]
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        values = list(pool.map(lambda run: journal.accuracy(options.castor, model, *run, epochs), runs))
    return {policy: [v for (p, _), v in zip(runs, values) if p == policy] for policy in POLICIES}


def compare(name, epochs, by_policy):
    """The rows of one model's results, each printed."""
    rows, single = [], by_policy["f32"]
    for policy, values in by_policy.items():
        mean = sum(values) / len(values)
        row = {"model": name, "policy": policy, "epochs": epochs, "seeds": list(range(1, len(values) + 1)),
               "accuracy": values, "mean": mean}
        line = f"{name:14} {policy:15} mean {100 * mean:6.2f} %"
        if policy != "f32":
            row["difference"] = mean - sum(single) / len(single)
            row["p"] = welch(values, single)
            row["equal"] = abs(row["difference"]) <= 0.005 and row["p"] >= 0.01
            line += (f"  difference {100 * row['difference']:+.2f} points  p = {row['p']:.3f}  "
                     f"{'equal' if row['equal'] else 'DIFFERS'}")
        rows.append(row)
        print(line, flush=True)
    return rows


def read_results(path):
    if not os.path.exists(path):
        return []
    with open(path) as file:
        return json.load(file)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--castor", required=True)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--epochs", type=int)
    parser.add_argument("--out", default=os.path.join(HERE, "results.json"))
    parser.add_argument("--journal", default="parity.jsonl")
    parser.add_argument("models", nargs="*", default=MODELS)
    options = parser.parse_args()
    if options.seeds < 2:
        parser.error("a test of means needs two seeds or more")
    journal, failed = Journal(options.journal, options.castor), False
    for model in options.models:
        name = os.path.basename(model)[:-4]
        epochs = options.epochs or EPOCHS.get(name, 5)
        rows = compare(name, epochs, measure(options, journal, model, epochs))
        failed |= not all(row.get("equal", True) for row in rows)
        results = [row for row in read_results(options.out) if row["model"] != name] + rows
        with open(options.out, "w") as file:
            json.dump(results, file, indent=1)
            file.write("\n")
    sys.exit(failed)


if __name__ == "__main__":
    main()
