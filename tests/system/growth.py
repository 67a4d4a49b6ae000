"""Compile time grows with the network, not faster: a deep repeat through all passes, up to 100,000 nodes and more.

Times are those of --time-passes (processor time), the smallest of several runs pass by pass, since other work on the machine only adds.
Kernels: equal layers share theirs, so 96 layers have few more of them than 12, and no more code a layer.
"""
import os
import re
import subprocess
import tempfile

from castor import CASTOR, castor, check, finish

NET = """
module block(x: [b, n]) {
    y = x |> layer_norm |> linear(n) as fc |> gelu
    return x + y
}
option depth = 12
model (x: f32[batch, 16], label: class(10)[batch]) {
    repeat i in 0..depth as layers { x = x |> block }
    logits = x |> linear(10) as head
    loss   = cross_entropy(logits, label)
}
train {
    data      synthetic(examples = 256, x = normal(0, 1), label = classes)
    batch     16
    epochs    1
    minimize  loss with adam(lr = 1e-3)
    precision autocast(f16)
}
"""
DEPTHS = (150, 300, 600)  # about 26,000, 53,000 and 106,000 nodes
RUNS = 3
LIMIT = 3.0  # seconds for the largest
DOUBLING = 2.6  # the longest that twice the nodes may take, relative: caches have their share, quadratic would be 4


def measure(net, depth):
    """Seconds by pass, and the nodes of the planned training graph."""
    best = {}
    for _ in range(RUNS):
        done = subprocess.run([CASTOR, "dump", net, "--set", f"depth={depth}", "--emit", "ir", "--after", "memory",
                               "--only", "train", "--time-passes"], capture_output=True, text=True)
        check(done.returncode == 0, f"depth {depth}: {done.stderr[-1000:]}")
        for name, milliseconds in re.findall(r"^(\w+) +([\d.]+) ms$", done.stderr, re.M):
            best[name] = min(best.get(name, 1e9), float(milliseconds) / 1e3)
    return best, done.stdout.count(" = ")


def passes(net):
    rows = [measure(net, depth) for depth in DEPTHS]
    for (times, nodes), depth in zip(rows, DEPTHS):
        slowest = max(times, key=times.get)
        print(f"{depth} layers, {nodes} nodes: {sum(times.values()):.3f} s, most of it {slowest} {times[slowest]:.3f} s")
    for (_, fewer_nodes), (_, nodes) in zip(rows, rows[1:]):
        check(1.9 < nodes / fewer_nodes < 2.1, f"{fewer_nodes} and {nodes} nodes")
    ratio = sum(rows[-1][0].values()) / sum(rows[0][0].values())
    check(ratio <= DOUBLING**2, f"four times the nodes take {ratio:.2f} times as long")
    check(rows[-1][1] >= 100000, f"{rows[-1][1]} nodes")
    check(len(rows[-1][0]) >= 12, f"passes measured: {rows[-1][0]}")
    total = sum(rows[-1][0].values())
    check(total <= LIMIT, f"{total:.2f} s: {rows[-1][0]}")


def kernels(net):
    counts, lengths = {}, {}
    for depth in (12, 96):
        source = castor("dump", net, "--set", f"depth={depth}", "--emit", "c")
        counts[depth] = source.count("(char *const *buffers, const long long *integers, const long *strip)\n")
        lengths[depth] = len(source)
    print(f"12 layers: {counts[12]} kernels, 96 layers: {counts[96]}")
    check(10 <= counts[12] <= counts[96] <= 1.5 * counts[12], f"kernels by layers: {counts}")
    check(lengths[96] <= 8 * lengths[12], f"bytes of C by layers: {lengths}")


def cuda(net):
    """Layers are turns of one loop in the kernels that take all of them: NVRTC's time hardly grows. Tables and names do."""
    lines = {}
    for depth in (12, 96):
        source = castor("dump", net, "--set", f"depth={depth}", "--emit", "cuda", "--device", "cuda", "--arch", "sm_80")
        kernels = re.findall(r'^extern "C".*?^}$', source, re.M | re.S)
        code = [line for text in kernels for line in text.split("\n") if not re.match(r" *(\{[\d, ]*\}|char \*const)", line)]
        lines[depth] = len(code)
    print(f"lines of CUDA: 12 layers {lines[12]}, 96 layers {lines[96]}")
    check(lines[12] > 500, f"lines of CUDA by layers: {lines}")
    check(lines[96] <= 1.6 * lines[12], f"lines of CUDA by layers: {lines}")


with tempfile.TemporaryDirectory() as folder:
    path = os.path.join(folder, "deep.net")
    with open(path, "w") as file:
        file.write(NET)
    passes(path)
    kernels(path)
    cuda(path)
finish()
