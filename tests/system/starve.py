"""Memory that ends: starve.py CASTOR STARVED [STRIDE]. STARVED is a castor whose Nth allocation fails (tests/starve.c).

For check, train (two steps), train --resume and build: with every STRIDEth N the command ends well, or with 3 and a
message; never by a signal or as an internal bug. What it leaves behind is whole: a run that began has no checkpoint, or
one that can be resumed from, and a trainer that is there runs.
"""
import os
import shutil
import subprocess
import sys
import tempfile

from castor import CASTOR, check, finish

STARVED, STRIDE = os.path.abspath(sys.argv[2]), int(sys.argv[3]) if len(sys.argv) > 3 else 1
NET = """model (x: f32[batch, 6], label: class(3)[batch]) {
    logits = x |> linear(5) as fc1 |> relu |> linear(3) as fc2
    loss            = cross_entropy(logits, label)
    metric accuracy = mean(argmax(logits) == label)
}

train {
    data      synthetic(examples = 32, test = 8, x = normal(0, 1), label = classes)
    batch     8
    epochs    1
    minimize  loss with adam(lr = 1e-2)
    precision autocast(f16)
    scale     dynamic(init = 1024)
}
"""


def run(binary, words, folder, **environment):
    return subprocess.run([binary, *words], cwd=folder, capture_output=True, text=True, env={**os.environ, **environment})


def allocations(words, folder):
    done = run(STARVED, words, folder, CASTOR_ALLOCATIONS=os.path.join(folder, "count"))
    check(done.returncode == 0, f"{words} with enough memory: exit {done.returncode}: {done.stderr}")
    with open(os.path.join(folder, "count")) as file:
        return int(file.read())


def starve(words, folder, before, after):
    """All N for one command; `before` makes its folder ready, `after` looks at what it left."""
    before()
    total = allocations(words, folder)
    failed = 0
    for number in range(1, total + 1, STRIDE):
        before()
        done = run(STARVED, words, folder, CASTOR_STARVE=str(number))
        where = f"castor {' '.join(words)}, allocation {number} of {total}"
        if not check(done.returncode in (0, 3), f"{where}: exit {done.returncode}: {done.stderr[-500:]}"):
            continue
        failed += done.returncode == 3
        check(done.returncode == 0 or "memory" in done.stderr, f"{where}: memory is not what it names: {done.stderr}")
        after(where, done.returncode)
    print(f"castor {words[0]}: {total} allocations, {failed} ended it", flush=True)
    check(failed > 0, f"{words}: no allocation that failed mattered")


def main():
    with tempfile.TemporaryDirectory() as folder:
        os.environ["XDG_CACHE_HOME"] = os.path.join(folder, "cache")
        run_folder, saved = os.path.join(folder, "run"), os.path.join(folder, "saved")
        with open(os.path.join(folder, "m.net"), "w") as file:
            file.write(NET)
        compiler = os.path.join(folder, "cc")  # that is quick: much is compiled and little run
        with open(compiler, "w") as file:
            file.write('#!/bin/sh\nexec cc "$@" -O0\n')
        os.chmod(compiler, 0o755)
        os.environ["CC"] = compiler

        def clean():
            shutil.rmtree(run_folder, ignore_errors=True)

        def from_saved():
            clean()
            shutil.copytree(saved, run_folder)

        def resumable(where, code):
            last = os.path.join(run_folder, "last.safetensors")
            if os.path.exists(last):
                done = run(CASTOR, ["eval", "m.net", "--weights", last], folder)
                check(done.returncode == 0, f"{where}: what it left can't be read: {done.stderr}")
            check(code != 0 or os.path.exists(last), f"{where}: ended well without weights")

        def trainer_runs(where, code):
            trainer = os.path.join(folder, "trainer")
            if os.path.exists(trainer):
                done = run(trainer, ["--help"], folder)
                check(done.returncode == 0, f"{where}: the trainer that it left does not run: {done.stderr}")
            check(code != 0 or os.path.exists(trainer), f"{where}: ended well without a trainer")

        def no_trainer():
            shutil.rmtree(os.path.join(folder, "lib"), ignore_errors=True)
            if os.path.exists(os.path.join(folder, "trainer")):
                os.remove(os.path.join(folder, "trainer"))

        train = ["train", "m.net", "--out", "run", "--quiet", "--threads", "1"]
        starve(["check", "m.net"], folder, clean, lambda where, code: None)
        starve([*train, "--steps", "2"], folder, clean, resumable)
        clean()
        run(CASTOR, [*train, "--steps", "2"], folder)
        os.rename(run_folder, saved)
        resume = [*train[:2], "--resume", "run", "--quiet", "--threads", "1", "--steps", "4"]
        starve(resume, folder, from_saved, resumable)
        starve(["build", "m.net", "-o", "trainer"], folder, no_trainer, trainer_runs)
    finish()


main()
