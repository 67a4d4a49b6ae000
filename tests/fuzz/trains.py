"""Fuzzer of training: random networks with random train blocks, each trained several ways that must come to the same.

    trains.py CASTOR SEED COUNT [DEVICE]

The networks are those of nets.py; what they are trained with is drawn here: optimizers over parts of the parameters,
phases, `every`, micro-batches, clipping, averages, loss scales, types. Weights, optimizer states, scales and counters
of the last checkpoint have the same bits when operations have kernels of their own, with less memory, and when the run goes on
from a checkpoint in its middle; in f32 weights are the same whatever power of two scales the loss. Without the last
rewrites, which may regroup sums and choose types, the first step's loss is the same but for rounding. A training that fails is kept as ./train-SEED-DEVICE.net.
"""
import json
import os
import random
import shutil
import struct
import subprocess
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.append(HERE)
import nets  # noqa: E402: it lies in the folder just named

STEPS = 5
OPTIMIZERS = ("sgd(lr = 0.02)", "sgd(lr = 0.02, momentum = 0.9, nesterov = true)", "adam(lr = 0.01)",
              "adamw(lr = 0.01 * warmup(step, 3))", "rmsprop(momentum = 0.5)", "lamb(lr = 0.01)",
              "lion(lr = 0.001 * cosine(step, steps))")
SCALES = ("none", "dynamic(init = 16777216, interval = 2)", "dynamic(init = 1024, interval = 1) per loss",
          "static(128)", "logmax")
POLICIES = ("f32", "autocast(f16)", "autocast(f16)", "autocast(bf16)", "almost", "half")
LAYERS = ("conv", "norm |>", "batch_norm", "layer_norm", "rms_norm")  # that have parameters


def minimize_lines(draw, net, accumulate):
    """Lines over a part each of the parameters: `p0`, …, and those of layers."""
    own = list(net.params)
    draw.shuffle(own)
    count = draw.randint(1, min(3, len(own)))
    groups = [", ".join(f'"{p}"' for p in own[i::count]) for i in range(count)]
    if any(layer in line for layer in LAYERS for line in net.lines):
        groups.append('not "p*"')
    lines = []
    for group in groups:
        start = "then minimize" if lines and accumulate == 1 and draw.random() < 0.5 else "minimize"
        override = draw.choice(("", "", f" {{ lr = 0.005 for {group} }}"))
        lines.append(f"{start} {draw.choice(('loss', 'loss', '0.5 * loss'))} over {group} with "
                     f"{draw.choice(OPTIMIZERS)}{override}{draw.choice(('', '', ' every 2', ' every 3'))}")
    return lines


def training(seed):
    """The text of a `.net` file, and its policy."""
    net, draw = nets.Net(seed), random.Random(seed + 1)
    net.batch = draw.choice((1, 2, 3, 4))
    model = nets.model(net)
    accumulate = draw.choice((1, 1, 2, 3))
    entries = [f"data synthetic(examples = {net.batch * 7 + 1}, test = {2 * net.batch}, x = normal, w = normal)",
               f"batch {net.batch}", f"steps {STEPS}", f"seed {seed}", f"scale {draw.choice(SCALES)}",
               "checkpoint every 2 steps keep 9", "evaluate every 3 steps"]
    entries += [f"accumulate {accumulate}"] if accumulate > 1 else []
    entries += draw.choice(([], [], ["clip norm(0.5)"], ["clip value(0.01)"]))
    entries += draw.choice(([], [], ["average ema(0.9)"]))
    lines = "\n".join(f"    {line}" for line in entries + minimize_lines(draw, net, accumulate))
    return f"{model}train {{\n{lines}\n}}\n", draw.choice(POLICIES)


# ---- training ----

def tensors(path):
    """Every tensor of a checkpoint but what tells where an overflow began: there, kernels matter."""
    with open(path, "rb") as file:
        data = file.read()
    size, = struct.unpack("<Q", data[:8])
    header = json.loads(data[8:8 + size])
    header.pop("__metadata__", None)
    return {name: (entry["dtype"], entry["shape"], data[8 + size:][slice(*entry["data_offsets"])])
            for name, entry in header.items() if not name.endswith("/overflow")}


class Trainer:
    def __init__(self, path, device, policy):
        self.path, self.device, self.policy = path, device, policy
        self.folder = os.path.splitext(path)[0]

    def run(self, name, *flags):
        """None where it does not train; `name` is the run's folder."""
        out = os.path.join(self.folder, name)
        where = [] if "--resume" in flags else ["--out", out]
        command = [nets.CASTOR, "train", self.path, "--device", self.device, "--quiet", "--policy", self.policy]
        self.result = subprocess.run([*command, *where, *flags], capture_output=True, text=True, timeout=600)
        return None if self.result.returncode else tensors(os.path.join(out, "last.safetensors"))

    def failure(self):
        return f"exit {self.result.returncode}: {self.result.stderr}"

    def resumed(self):
        """As it was trained, but broken off at the first checkpoint."""
        out = os.path.join(self.folder, "resumed")
        shutil.copytree(os.path.join(self.folder, "base"), out)
        os.replace(os.path.join(out, "step-00000002.safetensors"), os.path.join(out, "last.safetensors"))
        return self.run("resumed", "--resume", out)

    def first_losses(self, name):
        """By their names; None where one is inf or NaN."""
        with open(os.path.join(self.folder, name, "log.jsonl"), encoding="ascii") as file:
            loss = json.loads(file.readline())["loss"]
        return loss if isinstance(loss, dict) else {"loss": loss}


def ways_of(device, policy, text, draw):
    """Names, flags, and whose bits then stay the same."""
    def everything(name):
        return True

    def weights(name):
        return not name.startswith("train/")

    yield "again", [], everything
    yield "budget", ["--memory-budget", f"{draw.randint(50, 95)}%"], everything
    yield "resumed", [], everything
    if device == "host" and "conv" not in text:  # convolutions take sums tile by tile (CUDA), strip by strip (host)
        yield "unfused", ["--unfused"], everything
    if policy == "f32":
        yield "scaled", ["--scale", f"static({2 ** draw.randint(1, 10)})"], weights


def other_losses(trainer, limit):
    """What the first losses come to after so many rewrites, where that is something else."""
    if trainer.run("limited", "--pass-limit", limit, "--steps", "1") is None:
        return trainer.failure()
    usual, limited = trainer.first_losses("base"), trainer.first_losses("limited")
    tolerance = 1e-4 if trainer.policy == "f32" else 3e-2
    return " ".join(f"{name} {limited[name]}, not {loss}" for name, loss in usual.items()
                    if None not in (loss, limited[name]) and abs(loss - limited[name]) > tolerance * (abs(loss) + 1))


def problems(path, device, policy, text, draw):
    """What is wrong with a training, as text; empty where nothing is."""
    trainer, found = Trainer(path, device, policy), {}
    base = trainer.run("base")
    if base is None:
        # The examples' axis has met another one: that is no network.
        return "" if "error[E0206]" in trainer.result.stderr else trainer.failure()
    for name, flags, counts in ways_of(device, policy, text, draw):
        made = trainer.resumed() if name == "resumed" else trainer.run(name, *flags)
        if made is None:
            found[name] = "" if "error[E0805]" in trainer.result.stderr else trainer.failure()
        else:
            differ = [key for key in base.keys() | made.keys() if counts(key) and base.get(key) != made.get(key)]
            found[" ".join([name, *flags])] = " ".join(sorted(differ)[:6])
    limit = str(draw.randint(0, 600))
    found[f"limited {limit}"] = other_losses(trainer, limit)
    return "\n".join(f"{way}: {what}" for way, what in found.items() if what)


def main():
    seed, count = int(sys.argv[2]), int(sys.argv[3])
    device = sys.argv[4] if len(sys.argv) > 4 else "host"
    if device == "sim":
        nets.need_sim()
    failed = 0
    for number in range(seed, seed + count):
        path = f"train-{number}-{device}.net"
        text, policy = training(number)
        shutil.rmtree(os.path.splitext(path)[0], ignore_errors=True)
        with open(path, "w", encoding="ascii") as file:
            file.write(text)
        found = problems(path, device, policy, text, random.Random(number))
        if found:
            print(f"{path} ({policy}): {found}", flush=True)
            failed += 1
        else:
            os.remove(path)
            shutil.rmtree(os.path.splitext(path)[0], ignore_errors=True)
    print(f"{count} trainings on {device}, {failed} failed")
    sys.exit(failed > 0)


if __name__ == "__main__":
    main()
