"""What it costs a step to know where overflows begin.

watch.py CASTOR [MODEL.net ...]: for each model under autocast(f16), step time as it is and with the watches cut out of
the generated C before it is compiled (this file stands in for the compiler then), in turns; the fastest of each.
"""
import os
import re
import subprocess
import sys
import tempfile

from bench import profile

ROUNDS, STEPS = 8, 150
WATCH = re.compile(r"^( *)if \(any_lane\(.*\)\) \{\n(?:\1 .*\n)*\1\}\n", re.M)


def compile_without(arguments):
    """Runs cc on sources without their watches, and says on standard error how many there were."""
    for path in arguments:
        if path.endswith(".c"):
            with open(path) as file:
                text, count = WATCH.subn("", file.read())
            if "any_lane(" in text.split("\nvoid ", 1)[-1]:
                sys.exit("a watch that this file does not know")
            with open(path, "w") as file:
                file.write(text)
            with open(os.environ["CASTOR_WATCHES"], "a") as file:
                file.write(f"{count}\n")
    os.execvp("cc", ["cc", *arguments])


def measure(castor, model, folder):
    """Milliseconds a step with watches and without, and how many there are."""
    watches = os.path.join(folder, "watches")
    os.environ["CASTOR_WATCHES"] = watches
    wrapper = os.path.join(folder, "cc")
    with open(wrapper, "w") as file:
        file.write(f'#!/bin/sh\nexec {sys.executable} {os.path.abspath(__file__)} --compile "$@"\n')
    os.chmod(wrapper, 0o755)
    best = {"cc": float("inf"), wrapper: float("inf")}
    for turn in range(ROUNDS):
        for compiler in sorted(best, reverse=bool(turn % 2)):  # whoever runs second is some per cent slower
            os.environ["CC"] = compiler
            cache = os.path.join(folder, "with" if compiler == "cc" else "without")
            row = profile(castor, model, ["--policy", "autocast(f16)"], cache, STEPS)
            best[compiler] = min(best[compiler], row["step_ms"])
    with open(watches) as file:
        count = sum(int(line) for line in file)
    return best["cc"], best[wrapper], count


def main():
    castor, *models = sys.argv[1:]
    for model in models or ("models/fashion_mlp.net", "models/fashion_cnn.net", "models/fashion_resnet.net"):
        with tempfile.TemporaryDirectory() as folder:
            watched, bare, count = measure(castor, model, folder)
        if not count:
            sys.exit(f"{model}: no watches to leave out")
        print(f"{os.path.basename(model)[:-4]:16} {watched:8.3f} ms with {count} watches, {bare:8.3f} ms without: "
              f"{watched / bare - 1:+.1%}", flush=True)


if sys.argv[1:2] == ["--compile"]:
    compile_without(sys.argv[2:])
main()
