"""Sets larger than memory: training on a file of 16 GiB (with holes) takes no more memory than on a small one.
usage: streaming.py CASTOR"""
import os
import struct
import subprocess
import tempfile

from castor import CASTOR, check, finish

WIDTH, MARGIN = 1024, 64 << 20  # the order of four million examples is 32 MiB of it
MODEL = f"""model (x: f32[batch, {WIDTH}]) {{
    loss = mean((x |> linear(8) as fc) ^ 2)
}}
train {{
    data     npy("x.npy")
    batch    64
    steps    8
    minimize loss with sgd(lr = 0.01)
}}
"""


def write_npy(folder, rows):
    os.makedirs(folder)
    header = f"{{'descr': '<f4', 'fortran_order': False, 'shape': ({rows}, {WIDTH}), }}".ljust(117) + "\n"
    with open(os.path.join(folder, "x.npy"), "wb") as file:
        file.write(b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header.encode())
        file.truncate(file.tell() + rows * WIDTH * 4)


def peak(folder, data, *words):
    """Bytes that the process holds at most, its exit code and what it says."""
    out = os.path.join(folder, f"run.{data}")
    process = subprocess.Popen([CASTOR, "train", "m.net", "--data", f"{data}/x.npy", "--device", "host", "--out", out, *words],
                               cwd=folder, stderr=subprocess.PIPE, text=True)
    said = process.stderr.read()
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    return usage.ru_maxrss * 1024, process.returncode, said


with tempfile.TemporaryDirectory() as folder:
    with open(os.path.join(folder, "m.net"), "w") as file:
        file.write(MODEL)
    write_npy(os.path.join(folder, "small"), 640)
    write_npy(os.path.join(folder, "large"), 1 << 22)
    small, code, said = peak(folder, "small")
    check(code == 0, f"small: exit {code}\n{said}")
    large, code, said = peak(folder, "large")
    check(code == 0 and "4194304 examples" in said, f"large: exit {code}\n{said}")
    check(large < small + MARGIN, f"{large >> 20} MiB for 16 GiB of data, {small >> 20} MiB for 2.5 MiB")
    print(f"peak memory: {small >> 20} MiB with 2.5 MiB of data, {large >> 20} MiB with 16 GiB")
    os.truncate(os.path.join(folder, "large", "x.npy"), 15 << 30)
    _, code, said = peak(folder, "large", "--quiet")
    check(code == 3 and "large/x.npy: truncated: shape [4194304, 1024]" in said, f"cut: exit {code}\n{said}")
finish()
