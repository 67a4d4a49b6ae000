"""A trainer made by `castor build` in a root with nothing but libc, libgomp and what it ships (and /proc, by which the
loader finds what lies beside it): the same bytes as `castor train`, whatever kernels it chooses and on whatever device;
runs go from one to the other; the same input gives the same trainer.
usage: standalone.py CASTOR MODEL STEPS"""
import os
import re
import shutil
import subprocess
import sys
import tempfile

from castor import CASTOR, ROOT, check, finish

MODEL = sys.argv[2]
DATA = "/usr/share/datasets/fashion-mnist"
SYSTEM = ["libc.so.6", "libm.so.6", "libgomp.so.1", "ld-linux-x86-64.so.2"]
HALF = int(sys.argv[3]) // 2
STEPS = ["--steps", str(2 * HALF), "--eval-every", f"{HALF} steps"]
UNSHARE = ["unshare", "--mount"] if os.geteuid() == 0 else ["unshare", "--map-root-user", "--mount"]


def run(*words, cwd=None, code=0, root=None):
    inside = [*UNSHARE, "sh", "-c", 'mount --rbind /proc "$0/proc" && exec chroot "$0" "$@"', root] if root else []
    done = subprocess.run([*inside, *words], cwd=cwd, capture_output=True, text=True, env={"PATH": os.environ["PATH"]})
    check(done.returncode == code, f"{' '.join(words)}: exit {done.returncode}, not {code}\n{done.stderr[-1500:]}")
    return done.stdout + done.stderr


def read(*parts):
    with open(os.path.join(*parts), "rb") as file:
        return file.read()


def log(*parts):
    return re.sub(rb'"examples_per_s":[0-9]*', b"", read(*parts, "log.jsonl"))


def same_run(a, b):
    for name in ("last.safetensors", "best.safetensors", "model.net"):
        check(read(a, name) == read(b, name), f"{name} of {a} and {b} differ")
    check(log(a) == log(b), f"the logs of {a} and {b} differ")


def library(name):
    """Where the loader finds a library of the system."""
    for line in run("ldd", CASTOR).splitlines():
        found = re.search(r"(/\S+)", line.split("=>")[-1])
        if name in line and found:
            return found.group(1)
    raise SystemExit(f"no {name}")


def has_devices():
    """Those that can run here, by `castor devices`."""
    return [line.split()[0] for line in run(CASTOR, "devices").splitlines() if line.strip() and "not here" not in line]


def make_root(root, built):
    for name in SYSTEM:
        path = library(name)
        folder = root + os.path.dirname(path)
        os.makedirs(folder, exist_ok=True)
        shutil.copy(path, folder)
    os.makedirs(root + "/lib64", exist_ok=True)
    os.makedirs(root + "/proc")
    shutil.copy(library("ld-linux-x86-64.so.2"), root + "/lib64")
    shutil.copytree(built, root + "/trainer")
    if os.path.isdir(DATA):
        shutil.copytree(DATA, root + DATA)


if subprocess.run([*UNSHARE, "true"], capture_output=True, check=False).returncode:
    print("no namespaces here")
    sys.exit(77)
with tempfile.TemporaryDirectory() as folder:
    built, again, root = (os.path.join(folder, name) for name in ("built", "again", "root"))
    os.makedirs(built)
    os.makedirs(again)
    model = os.path.join(ROOT, MODEL)
    run(CASTOR, "build", model, "--device", "host", "-o", os.path.join(built, "t"))
    make_root(root, built)
    help_text = run("/trainer/t", "--help", root=root)
    check("Decided when it was built" in help_text and "width" in help_text, f"--help:\n{help_text}")

    whole = os.path.join(folder, "whole")
    run(CASTOR, "train", model, "--device", "host", "--threads", "2", "--out", whole, *STEPS)
    run("/trainer/t", "--threads", "2", "--out", "/run", *STEPS, root=root)
    same_run(whole, root + "/run")
    isas = ["baseline", "avx2"] if " avx2 " in open("/proc/cpuinfo", encoding="ascii").read() else ["baseline"]
    for isa in isas:
        run("/trainer/t", "--threads", "2", "--isa", isa, "--out", f"/run-{isa}", "--quiet", *STEPS, root=root)
        same_run(whole, f"{root}/run-{isa}")

    # Half here and half there.
    half = ["--steps", str(HALF)]
    run("/trainer/t", "--threads", "2", "--out", "/part", "--quiet", *half, root=root)
    run(CASTOR, "train", model, "--device", "host", "--threads", "2", "--resume", root + "/part", "--quiet", *STEPS)
    check(read(whole, "last.safetensors") == read(root, "part/last.safetensors"), "a run that castor went on with differs")

    run("/trainer/t", "--policy", "f32", root=root, code=2)
    run("/trainer/t", "--epochs", "none", root=root, code=2)
    run("/trainer/t", "--resume", "/nowhere", root=root, code=3)
    run("/trainer/t", "--data", "/nowhere", root=root, code=3)
    run(CASTOR, "build", model, "--device", "host", code=2)
    run(CASTOR, "build", model, "--device", "sim", "-o", os.path.join(again, "t"), code=2)
    check("--device takes" in run(CASTOR, "build", model, "--device", ",", "-o", os.path.join(again, "t"), code=2),
          "an empty list of devices is refused without a word")
    run(CASTOR, "build", model, "--arch", "sm_80", "-o", os.path.join(again, "t"), code=2)
    run("/trainer/t", "--device", "sim", root=root, code=3)
    run(CASTOR, "build", model, "--device", "host", "-o", os.path.join(again, "t"), cwd=again)
    check(read(built, "t") == read(again, "t"), "the same input gives another trainer")

    # For host and GPU, which the simulated one stands for; in a root without NVRTC.
    if "sim" in has_devices():
        both = os.path.join(folder, "both")
        os.makedirs(both)
        run(CASTOR, "build", model, "--device", "host,cuda", "--arch", "sm_80,sm_90", "-o", os.path.join(both, "t"))
        shutil.copytree(both, root + "/both")
        few = ["--steps", "2", "--eval-every", "9 steps", "--quiet"]
        run("/both/t", "--device", "sim", "--out", "/sim", *few, root=root)
        run(CASTOR, "train", model, "--device", "sim", "--arch", "sm_80", "--out", os.path.join(folder, "sim"), *few)
        same_run(os.path.join(folder, "sim"), root + "/sim")
        run("/both/t", "--threads", "2", "--out", "/both-host", "--quiet", *STEPS, root=root)
        same_run(whole, root + "/both-host")
        run("/both/t", "--device", "cuda", root=root, code=3)
        check("cuda (sm_80), cuda (sm_90)" in run("/both/t", "--help", root=root), "--help without its devices")
finish()
