"""Training on the simulated GPU agrees with training on the host: simulated.py CASTOR.

The whole cuda device runs, with NVRTC's kernels and recorded graphs. Losses of the MLP over 50 steps agree to 1e-4
relative in f32 and to 2e-2 in half types (sums are added up in another order there, and rounded); those of the CNN over
a few steps too. The same weights come out whatever the number of threads; and with --check, which waits and looks after
every launch.
"""
import json
import os
import subprocess
import sys
import tempfile

from castor import CASTOR, ROOT, castor, check, finish, need_sim

DATA = "synthetic(examples = 256, test = 64, image = uniform(0, 255), label = classes)"
CNN_DATA = "synthetic(examples = 64, test = 8, image = uniform(0, 255), label = classes)"
SCALED = """
model (x: f32[batch, 4], label: class(3)[batch]) {
    loss = cross_entropy(x |> linear(8) as hidden |> relu |> linear(3) as fc, label)
}
train {
    data      synthetic(examples = 64, test = 8, x = normal(0, 1), label = classes)
    batch     8
    epochs    1
    minimize  loss with sgd(lr = 0.1)
    precision autocast(f16)
    scale     dynamic(init = 4194304)
}
"""

# A library stores both the sum and its gelu: neither is looked at before something loads the sum.
GELU = """
module loud(x: [.., k], n) {
    param weight: [n, k] ~ normal(0, 300)
    param bias: [n] ~ zeros()
    return x @ weight' + bias
}
model (x: f32[batch, 16]) {
    y = 3000 * x |> linear(64) as first |> gelu(approximate = true) |> loud(64) as second |> gelu(approximate = true)
    y = y |> linear(1) as last
    loss = mean(y * y)
}
train {
    data      synthetic(examples = 64, test = 8, x = normal(0, 1))
    batch     8
    epochs    1
    minimize  loss with sgd(lr = 0.1)
    precision autocast(f16)
    scale     dynamic
}
"""


def train(folder, name, model, device, *flags):
    out = os.path.join(folder, name)
    where = () if "--resume" in flags else ("--out", out)
    castor("train", f"models/{model}.net", "--device", device, *where, "--quiet", "--cache",
           os.path.join(folder, "cache"), *flags)
    with open(os.path.join(out, "log.jsonl")) as log:
        rows = [json.loads(line) for line in log]
    return [row["loss"] for row in rows if "step" in row and "loss" in row], os.path.join(out, "last.safetensors")


def compare(folder, model, policy, bound, *flags, name=None):
    name = f"{name or model}-{policy}"
    host, _ = train(folder, name + "-host", model, "host", "--policy", policy, *flags)
    sim, _ = train(folder, name + "-sim", model, "sim", "--policy", policy, *flags)
    worst = max(abs(a - b) / abs(a) for a, b in zip(host, sim)) if host else 1
    check(len(host) == len(sim) > 0 and worst <= bound,
          f"{model} in {policy}: {len(host)} losses, the furthest apart by {worst:.2g} of at most {bound:g}")


def equal_bytes(folder, flags, other):
    name = "-".join(other).strip("-").replace(" ", "")
    _, one = train(folder, "one-" + name, "fashion_mlp", "sim", *flags, "--threads", "1")
    _, two = train(folder, "two-" + name, "fashion_mlp", "sim", *flags, *other)
    with open(one, "rb") as a, open(two, "rb") as b:
        check(a.read() == b.read(), f"the same weights with {' '.join(other)}")


def overflow_lines(folder, device, *flags):
    """What is told of each overflowed step: line by line, the place where it began and whose fault it was."""
    done = subprocess.run([CASTOR, "train", "--device", device, "--steps", "3", "--batch", "8", "--out",
                           os.path.join(folder, f"overflow-{device}-{os.path.basename(flags[0])}"), *flags], cwd=ROOT,
                          capture_output=True, text=True)
    return [line for line in done.stderr.splitlines() if line.startswith("step ")]


def compare_overflows(folder):
    """Forward: squares, then a product that f16 cannot hold. Backward: gradients too large only for the scale."""
    net, gelu = os.path.join(folder, "scaled.net"), os.path.join(folder, "gelu.net")
    for path, text in (net, SCALED), (gelu, GELU):
        with open(path, "w") as file:
            file.write(text)
    forward = ("models/overflow.net", "--data", DATA)
    for cause, flags in ("the forward pass itself", forward), ("the forward pass itself", (gelu,)), ("the scale is too large", (net,)):
        host, sim = overflow_lines(folder, "host", *flags), overflow_lines(folder, "sim", *flags)
        check(host == sim and sim and all(cause in line and "first at" in line for line in sim),
              f"overflows with the same origin: {sim} on sim, {host} on host")


def main():
    need_sim()
    with tempfile.TemporaryDirectory() as folder:
        steps = ("--steps", "50", "--batch", "32", "--data", DATA)
        compare(folder, "fashion_mlp", "f32", 1e-4, *steps)
        compare(folder, "fashion_mlp", "autocast(f16)", 2e-2, *steps)
        compare(folder, "fashion_mlp", "autocast(bf16)", 2e-2, *steps)
        few = ("--steps", "3", "--batch", "4", "--data", CNN_DATA)
        compare(folder, "fashion_cnn", "f32", 1e-4, *few)
        compare(folder, "fashion_cnn", "autocast(f16)", 2e-2, *few)
        short = ("--policy", "autocast(f16)", "--steps", "5", "--batch", "16", "--data", DATA)
        compare_overflows(folder)
        equal_bytes(folder, short, ("--threads", "3"))
        equal_bytes(folder, short, ("--threads", "2", "--check"))
        equal_bytes(folder, short + ("--accumulate", "2"), ("--threads", "2"))
    finish()


if __name__ == "__main__":
    main()
