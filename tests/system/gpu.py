"""A machine with a GPU, played by the simulated one: gpu.py CASTOR PLAYED LIBRARY.

PLAYED is castor with its symbols exported, LIBRARY what stands for libcuda and libcublasLt (tests/played/gpu.c). What is
tested comes before the first kernel: which device is taken where none is named, and what is said when the GPU cannot be
used.
"""
import json
import os
import subprocess
import sys
import tempfile

from castor import CASTOR, ROOT, check, finish, need_sim

PLAYED, LIBRARY = (os.path.abspath(path) for path in sys.argv[2:4])
DATA = "synthetic(examples = 64, test = 16, image = uniform(0, 255), label = classes)"


def run(folder, *words, **variables):
    environment = {**os.environ, "LD_LIBRARY_PATH": folder, "CUDA_VISIBLE_DEVICES": "0", **variables}
    return subprocess.run([PLAYED, *words], cwd=ROOT, capture_output=True, text=True, env=environment)


def train(folder, *flags, code=0, **variables):
    """The device that a short run was on, and what it said on standard error."""
    with tempfile.TemporaryDirectory() as place:
        done = run(folder, "train", "models/fashion_mlp.net", "--data", DATA, "--steps", "2", "--batch", "16",
                   "--cache", os.path.join(folder, "cache"), "--out", os.path.join(place, "run"), *flags, **variables)
        check(done.returncode == code, f"{flags} {variables}: exit {done.returncode}\n{done.stderr[-2000:]}")
        if code:
            return None, done.stderr
        with open(os.path.join(place, "run", "run.json"), encoding="utf-8") as file:
            return json.load(file)["device"], done.stderr


need_sim()
with tempfile.TemporaryDirectory() as folder:
    for name in "libcuda.so.1", "libcublasLt.so.13":
        os.symlink(LIBRARY, os.path.join(folder, name))
    os.environ.pop("CUDA_HOME", None)

    device, said = train(folder)
    check(device == "cuda" and "not used" not in said, f"a GPU is here: {device}, {said}")
    device, said = train(folder, PLAYED_ARCHITECTURE="sm_300")
    check(device == "cuda", f"a GPU newer than NVRTC knows: {device}, {said}")

    device, said = train(folder, CUDA_VISIBLE_DEVICES="")
    check(device == "host" and "not used" not in said, f"a hidden GPU: {device}, {said}")
    device, said = train(folder, PLAYED_BUSY="1")
    check(device == "host" and "the GPU is not used: starting the GPU" in said, f"a busy GPU: {device}, {said}")
    device, said = train(folder, PLAYED_DRIVER="12040")
    check(device == "host" and "the GPU is not used" in said, f"libraries newer than the driver: {device}, {said}")

    _, said = train(folder, "--device", "cuda", code=3, PLAYED_DRIVER="12040")
    # Where CUDA 12 is installed, it is cuBLASLt that finds this driver wanting.
    check("for CUDA 13, but the driver is for CUDA 12.4" in said or "cuBLASLt" in said, f"the GPU asked for: {said}")
    _, said = train(folder, "--device", "cuda", code=3, PLAYED_DRIVER="12000")
    check("the driver is for CUDA 12.0" in said and "hint" in said, f"an old driver: {said}")

    # NVRTC 13 opens a library of its own by its bare name, which the loader finds where nothing else helps it.
    loader = "/lib64/ld-linux-x86-64.so.2"
    if os.path.exists(loader):
        done = subprocess.run([loader, "--inhibit-cache", CASTOR, "dump", "models/fashion_mlp.net", "--emit", "ptx",
                               "--device", "cuda", "--arch", "sm_80", "--cache", "off"],
                              cwd=ROOT, capture_output=True, text=True)
        check(done.returncode == 0 and ".entry" in done.stdout, f"NVRTC by its full path: {done.stderr}")

    # Golden tests that name no device expect what the host prints.
    golden = os.path.join(ROOT, "tests", "golden")
    done = subprocess.run([os.path.join(golden, "run"), os.path.join(golden, "cli", "dump_to.test")],
                          capture_output=True, text=True, env={**os.environ, "LD_LIBRARY_PATH": folder, "CUDA_VISIBLE_DEVICES": "0",
                               "CASTOR": PLAYED})
    check(done.returncode == 0, f"a golden test beside a GPU:\n{done.stdout}{done.stderr}")
finish()
