"""Longer training on the simulated GPU agrees with the host's, from the same weights: trajectories.py CASTOR.

Loss by loss, over 50 steps of the MLP and the CNN and 20 of the ResNet, with small batches of made-up images: within 2e-2
relative in f16 and 1e-4 in f32. In f32 CNN and ResNet go two ways.

From where the host has trained for WARM steps, weights and the optimizer's state, they are within 1e-4 to the end.

From weights as they are drawn they are within 1e-5 while a difference is still that of the sums' order (FIRST steps).
Adam's first steps divide by what may be no more than its eps, so from then on a loss' last bit turns into another update,
into another route through max_pool and relu, and each step multiplies what there is. So they may be apart by as much as
the host is from itself with its convolutions' sums in another order (Winograd's way), times two, where that is more than
1e-4.
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
FIRST = {"fashion_cnn": 10, "fashion_resnet": 5}
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
    """The largest relative difference up to each step."""
    worst, so_far = 0, []
    for a, b in zip(losses, others):
        worst = max(worst, abs(a - b) / abs(a))
        so_far.append(worst)
    return so_far


def compare_roundings(folder, model):
    flags = RUNS[model] + ("--policy", "f32")
    host, _ = train(folder, f"{model}-f32-host", model, "host", "--plain-convolutions", *flags)
    other, _ = train(folder, f"{model}-f32-other", model, "host", *flags)
    sim, _ = train(folder, f"{model}-f32-sim", model, "sim", *flags)
    steps = int(flags[1])
    check(len(host) == len(other) == len(sim) == steps, f"{model}: {len(host)}, {len(other)} and {len(sim)} losses")
    found, known = apart(host, sim), apart(host, other)
    first = found[FIRST[model] - 1]
    print(f"{model} in f32, sim and host apart by {first:.2g} after {FIRST[model]} steps, {found[-1]:.2g} after {steps}; "
          f"the host from itself by {known[-1]:.2g}")
    check(first <= 1e-5, f"{model} in f32: the first {FIRST[model]} losses are up to {first:.2g} apart")
    for step, (distance, yardstick) in enumerate(zip(found, known), 1):
        check(distance <= max(1e-4, 2 * yardstick),
              f"{model} in f32, step {step}: sim and host {distance:.2g} apart, the host from itself {yardstick:.2g}")


def go_on(folder, name, model, device, steps, *flags):
    """The losses of as many steps more, on a copy of the run."""
    shutil.copytree(os.path.join(folder, f"{model}-warm"), os.path.join(folder, name))
    losses, _ = train(folder, name, model, device, "--resume", os.path.join(folder, name), "--steps",
                      str(WARM + steps), *flags)
    check(len(losses) == WARM + steps, f"{model} on {device}: {len(losses)} losses")
    return losses[WARM:]


def compare_warm(folder, model):
    _, steps, _, batch, *_ = RUNS[model]
    flags = ("--policy", "f32", "--plain-convolutions", "--batch", batch, "--data", f'idx("{folder}")')
    train(folder, f"{model}-warm", model, "host", "--steps", str(WARM), *flags)
    host = go_on(folder, f"{model}-warm-host", model, "host", int(steps), *flags)
    sim = go_on(folder, f"{model}-warm-sim", model, "sim", int(steps), *flags)
    worst = max(apart(host, sim))
    print(f"{model} in f32, sim and host apart by {worst:.2g} over {steps} steps after {WARM}; losses {host[0]:.3g} to "
          f"{host[-1]:.3g}")
    check(worst <= 1e-4, f"{model} in f32 after {WARM} steps: sim and host {worst:.2g} apart")
    check(0.2 < sum(host) / len(host) < 2, f"{model} has nothing left to learn, or never began")


def main():
    need_sim()
    with tempfile.TemporaryDirectory() as folder:
        compare(folder, "fashion_mlp", "f32", 1e-4, *RUNS["fashion_mlp"])
        write_images(folder)
        for model in FIRST:
            compare_warm(folder, model)
            compare_roundings(folder, model)
        for model, flags in RUNS.items():
            compare(folder, model, "autocast(f16)", 2e-2, *flags)
    finish()


if __name__ == "__main__":
    main()
