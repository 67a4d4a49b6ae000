"""What compiling a full-size training program for a GPU takes: `castor`'s own part, and all of it with NVRTC.

compile.py --castor BINARY [--arch sm_80] [--rounds 3] [MODEL ...]

Each MODEL (gpt and resnet50 where none is named) is compiled with autocast and without a cache: all graphs, as `castor
train` would, with as many threads as there are cores. The fastest of some rounds is told. Needs NVRTC, but no GPU.
"""
import argparse
import os
import subprocess
import sys
import time

MODELS = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "models")


def seconds(command):
    start = time.monotonic()
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"{' '.join(command)}: exit {done.returncode}\n{done.stderr}")
    return time.monotonic() - start, done.stdout


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--castor", required=True)
    parser.add_argument("--arch", default="sm_80")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("models", nargs="*", metavar="MODEL", default=["gpt", "resnet50"])
    given = parser.parse_args()
    print(f"{'model':<14}{'kernels':>8}{'own s':>8}{'all s':>8}")
    for model in given.models:
        flags = [os.path.join(MODELS, model + ".net"), "--policy", "autocast", "--arch", given.arch]
        own, source = min(seconds([given.castor, "dump", *flags, "--device", "cuda", "--emit", "cuda"]) for _ in range(given.rounds))
        everything = min(seconds([given.castor, "ledger", *flags, "--device", "sim", "--registers", "--cache", "off"])[0]
                         for _ in range(given.rounds))
        print(f"{model:<14}{source.count('__global__ void'):>8}{own:>8.2f}{everything:>8.2f}", flush=True)


main()
