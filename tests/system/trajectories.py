"""Longer training on the simulated GPU agrees with the host's, from the same weights: trajectories.py CASTOR.

Loss by loss, over 50 steps of the MLP and the CNN and 20 of the ResNet, with small batches of made-up images: within 2e-2
relative in f16 and 1e-4 in f32. In f32 CNN and ResNet go two ways.

From where the host has trained for WARM steps, weights and the optimizer's state, they are within 1e-4 to the end.

From weights as they are drawn, sim begins anew every few steps with the host's weights and state. There a loss' last bit
is another route through max_pool and relu, and with Adam, whose first steps divide by what may be no more than its eps,
another update; each step multiplies what there is, so two orders of the sums on one device part, too. Stretches are too
short for that: all their losses are within 1e-5. Without beginning anew, no loss is further away than f16's may be.
"""
import os
import random
import shutil
import struct
import tempfile

from castor import check, finish, need_sim
from simulated import DATA, compare, train

RUNS = {"fashion_mlp": ("--steps", "50", "--batch", "32", "--data", DATA),
        "fashion_cnn": ("--steps", "50", "--batch", "32", "--data", DATA),
        "fashion_resnet": ("--steps", "20", "--batch", "16", "--data", DATA)}
STRETCHES = {"fashion_cnn": (5, ()),  # steps, and a rate that does not ask how many follow
             "fashion_resnet": (2, ("--lr", "0.1 * warmup(step, 100) * cosine(step, 20)"))}
WARM = 200
SIDE, CLASSES = 28, 10


def write_idx(path, sizes, numbers):
    with open(path, "wb") as file:
        file.write(struct.pack(f">HBB{len(sizes)}I", 0, 8, len(sizes), *sizes) + bytes(numbers))


def write_images(folder):
    """Of each class, a pattern of its own under noise; one label in five is drawn: something that can be learned, and
    never is altogether."""
    draw = random.Random(1)
    patterns = [[draw.choice((0, 140)) for _ in range(SIDE * SIDE // 16)] for _ in range(CLASSES)]
    for name, count in (("train", 4096), ("t10k", 64)):
        labels = [draw.randrange(CLASSES) for _ in range(count)]
        pixels = bytearray()
        for label in labels:
            noise = draw.randbytes(SIDE * SIDE)
            pixels += bytes(noise[i] * 115 // 255 + patterns[label][i // SIDE // 4 * (SIDE // 4) + i % SIDE // 4]
                            for i in range(SIDE * SIDE))
        write_idx(os.path.join(folder, f"{name}-images-idx3-ubyte"), (count, SIDE, SIDE), pixels)
        labels = [draw.randrange(CLASSES) if draw.random() < 0.2 else label for label in labels]
        write_idx(os.path.join(folder, f"{name}-labels-idx1-ubyte"), (count,), labels)


def apart(losses, others):
    """The largest relative difference."""
    return max(abs(a - b) / abs(a) for a, b in zip(losses, others))


def go_on(folder, start, name, model, device, done, steps, *flags):
    """The losses of as many steps more on a copy of a run that has `done` of them."""
    shutil.copytree(os.path.join(folder, start), os.path.join(folder, name))
    losses, _ = train(folder, name, model, device, "--resume", os.path.join(folder, name), "--steps",
                      str(done + steps), *flags)
    check(len(losses) == done + steps, f"{model} on {device}: {len(losses)} losses, not {done + steps}")
    return losses[done:]


def compare_stretches(folder, model):
    stretch, rate = STRETCHES[model]
    steps, flags = int(RUNS[model][1]), RUNS[model][2:] + rate + ("--policy", "f32", "--plain-convolutions")
    host, _ = train(folder, f"{model}-host-0", model, "host", "--steps", str(stretch), *flags)
    sim, _ = train(folder, f"{model}-sim-0", model, "sim", "--steps", str(stretch), *flags)
    for done in range(stretch, steps, stretch):
        start = f"{model}-host-{done - stretch}"
        host += go_on(folder, start, f"{model}-host-{done}", model, "host", done, stretch, *flags)
        sim += go_on(folder, start, f"{model}-sim-{done}", model, "sim", done, stretch, *flags)
    alone, _ = train(folder, f"{model}-alone", model, "sim", "--steps", str(steps), *flags)
    check(len(host) == len(sim) == len(alone) == steps, f"{model}: {len(host)}, {len(sim)} and {len(alone)} losses")
    print(f"{model} in f32, sim and host apart by {apart(host, sim):.2g} over {steps} steps, {stretch} at a time; "
          f"by {apart(host, alone):.2g} without beginning anew")
    check(apart(host, alone) <= 2e-2, f"{model} in f32: sim and host {apart(host, alone):.2g} apart after {steps} steps")
    for step, (a, b) in enumerate(zip(host, sim), 1):
        check(abs(a - b) <= 1e-5 * abs(a), f"{model} in f32, step {step}: {a:.8g} on the host, {b:.8g} on sim")


def compare_warm(folder, model):
    _, steps, _, batch, *_ = RUNS[model]
    flags = ("--policy", "f32", "--plain-convolutions", "--batch", batch, "--data", f'idx("{folder}")')
    train(folder, f"{model}-warm", model, "host", "--steps", str(WARM), *flags)
    host = go_on(folder, f"{model}-warm", f"{model}-warm-host", model, "host", WARM, int(steps), *flags)
    sim = go_on(folder, f"{model}-warm", f"{model}-warm-sim", model, "sim", WARM, int(steps), *flags)
    worst = apart(host, sim)
    print(f"{model} in f32, sim and host apart by {worst:.2g} over {steps} steps after {WARM}; losses {host[0]:.3g} to "
          f"{host[-1]:.3g}")
    check(worst <= 1e-4, f"{model} in f32 after {WARM} steps: sim and host {worst:.2g} apart")
    check(0.2 < sum(host) / len(host) < 2, f"{model} has nothing left to learn, or never began")


def main():
    need_sim()
    with tempfile.TemporaryDirectory() as folder:
        compare(folder, "fashion_mlp", "f32", 1e-4, *RUNS["fashion_mlp"])
        write_images(folder)
        for model in STRETCHES:
            compare_warm(folder, model)
            compare_stretches(folder, model)
        for model, flags in RUNS.items():
            compare(folder, model, "autocast(f16)", 2e-2, *flags)
    finish()


if __name__ == "__main__":
    main()
