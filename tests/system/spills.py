"""No generated CUDA kernel spills a register: spills.py CASTOR [MODEL|ARCHITECTURE...].

`castor dump --emit cuda` of every model (or those named) under several policies for every architecture (or those named),
compiled by NVRTC; what its assembler says of each kernel is read. Exits 77 where there is no NVRTC.
"""
import ctypes
import glob
import os
import re
import sys

from castor import ROOT, castor, check, finish

POLICIES = ("f32", "autocast(f16)", "autocast(bf16)", "half(f16)")
ARCHITECTURES = ("sm_80", "sm_86", "sm_89", "sm_90", "sm_100")


def open_nvrtc():
    home = os.environ.get("CUDA_HOME", "/usr/local/cuda")
    for name in ["libnvrtc.so", "libnvrtc.so.13", "libnvrtc.so.12"] + sorted(glob.glob(f"{home}/lib64/libnvrtc.so*")):
        try:
            return ctypes.CDLL(name)
        except OSError:
            continue
    print("no NVRTC")
    sys.exit(77)


def compile_log(nvrtc, source, architecture):
    """Whether it compiles, and what NVRTC says."""
    program, size = ctypes.c_void_p(), ctypes.c_size_t()
    options = [b"--gpu-architecture=" + architecture.encode(), b"--fmad=false", b"--std=c++17", b"--ptxas-options=-v"]
    nvrtc.nvrtcCreateProgram(ctypes.byref(program), source.encode(), b"kernels.cu", 0, None, None)
    good = nvrtc.nvrtcCompileProgram(program, len(options), (ctypes.c_char_p * len(options))(*options)) == 0
    nvrtc.nvrtcGetProgramLogSize(program, ctypes.byref(size))
    log = ctypes.create_string_buffer(size.value)
    nvrtc.nvrtcGetProgramLog(program, log)
    nvrtc.nvrtcDestroyProgram(ctypes.byref(program))
    return good, log.value.decode()


def test(nvrtc, model, policy, architecture):
    what = f"{model} {policy} {architecture}"
    source = castor("dump", f"models/{model}.net", "--policy", policy, "--arch", architecture, "--emit", "cuda")
    good, log = compile_log(nvrtc, source, architecture)
    check(good, f"{what}: {log[:400]}")
    kernels = re.findall(r"Function properties for (\w+)\s.*?(\d+) bytes stack frame, (\d+) bytes spill stores, "
                         r"(\d+) bytes spill loads", log)
    check(len(kernels) >= source.count('extern "C" __global__') > 4, f"{what}: {len(kernels)} kernels in the log")
    for name, stack, stores, loads in kernels:
        check(stores == loads == stack == "0", f"{what}: {name} has a stack of {stack} bytes, spills {stores}")


library = open_nvrtc()
architectures = [name for name in sys.argv[2:] if name.startswith("sm_")] or ARCHITECTURES
models = [name for name in sys.argv[2:] if not name.startswith("sm_")]
for model in models or sorted(name[:-4] for name in os.listdir(os.path.join(ROOT, "models")) if name.endswith(".net")):
    for policy in POLICIES:
        for architecture in architectures:
            test(library, model, policy, architecture)
finish()
