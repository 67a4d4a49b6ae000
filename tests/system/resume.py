"""kill -9 at random moments of runs that checkpoint every step: each goes on, and ends in the bytes of the run that was
never killed. usage: resume.py CASTOR KILLS [SEED]"""
import os
import random
import re
import signal
import subprocess
import sys
import tempfile
import time

from castor import CASTOR, check, finish

KILLS = int(sys.argv[2])
SEED = int(sys.argv[3]) if len(sys.argv) > 3 else 1
NET = """
model (x: f32[batch, 3, 4], y: class(3)[batch]) {
    h = x |> flatten |> linear(24) as fc1 |> batch_norm as bn |> dropout(0.1) |> relu
    logits = h |> linear(3) as fc2
    loss = cross_entropy(logits, y)
    metric accuracy = mean(argmax(logits) == y)
}
train {
    data synthetic(examples = 403, test = 57, x = normal(0, 1), y = classes) |> random_flip
    batch 8
    epochs 4
    accumulate 4
    evaluate every 7 steps
    checkpoint every 1 step keep 3 keep best accuracy
    minimize loss with adam(lr = 1e-2)
    average ema(0.9)
    precision autocast(f16)
    scale dynamic(init = 65536, interval = 5)
}
"""


def start(folder, *words):
    with open(os.path.join(folder, "messages"), "w") as messages:
        return subprocess.Popen([CASTOR, "train", "m.net", "--quiet", "--device", "host", "--threads", "1", *words], cwd=folder,
                                stderr=messages)


def message(folder):
    with open(os.path.join(folder, "messages")) as file:
        return file.read()


def run_files(run):
    """What must be equal: every file of weights, and the log without its timings."""
    files = {}
    for name in sorted(os.listdir(run)):
        with open(os.path.join(run, name), "rb") as file:
            files[name] = file.read()
    files["log.jsonl"] = re.sub(rb'"examples_per_s":[0-9]*', b"", files["log.jsonl"])
    return files


def train_killed(folder, run, seconds, draw):
    """Trains, killed again and again, until it ends; how often it was killed."""
    kills = 0
    words = ["--out", run]
    while True:
        process = start(folder, *words)
        try:
            process.wait(draw.uniform(0, seconds))
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGKILL)
            process.wait()
            kills += 1
        if process.returncode == 0:
            return kills
        if not check(process.returncode == -signal.SIGKILL, f"exit {process.returncode}: {message(folder)}"):
            return kills
        path = os.path.join(folder, run)
        begun = os.path.isdir(path) and any("safetensors" in name and "tmp" not in name for name in os.listdir(path))
        if os.path.isdir(path) and not begun:  # killed before its first checkpoint: begin again
            subprocess.run(["rm", "-r", path], check=True)
        words = ["--resume", run] if begun else ["--out", run]


draw = random.Random(SEED)
with tempfile.TemporaryDirectory() as folder:
    with open(os.path.join(folder, "m.net"), "w") as file:
        file.write(NET)
    start(folder, "--out", "warm").wait()
    begin = time.monotonic()
    check(start(folder, "--out", "whole").wait() == 0, message(folder))
    seconds = 1.2 * (time.monotonic() - begin)
    wanted = run_files(os.path.join(folder, "whole"))
    check(len([name for name in wanted if name.startswith("step-")]) == 2, "keep 3 keeps last and two more")
    kills = runs = 0
    while kills < KILLS:
        runs += 1
        kills += train_killed(folder, f"run{runs}", seconds, draw)
        got = run_files(os.path.join(folder, f"run{runs}"))
        check(got.keys() == wanted.keys(), f"seed {SEED}, run {runs}: files {sorted(got)}, wanted {sorted(wanted)}")
        different = [name for name in wanted if got.get(name) != wanted[name]]
        check(not different, f"seed {SEED}, run {runs}: {different} differ")
        subprocess.run(["rm", "-r", os.path.join(folder, f"run{runs}")], check=True)
    print(f"{kills} kills in {runs} runs of {seconds:.2f} s")
finish()
