"""Longer training on the simulated GPU agrees with the host's, from the same weights: trajectories.py CASTOR.

Loss by loss, over 50 steps of the MLP and the CNN and 20 of the ResNet, with small batches of made-up images: within 2e-2
relative in f16 and 1e-4 in f32. CNN and ResNet in f32 are within 1e-5 while a difference is still that of the sums' order
(FIRST steps); from then on a loss' last bit turns into another route through max_pool and relu, and each step multiplies
what there is. So they may be apart by as much as the host is from itself with its convolutions' sums in another order
(Winograd's way), times two, where that is more than 1e-4.
"""
import tempfile

from castor import check, finish, need_sim
from simulated import DATA, compare, train

RUNS = {"fashion_mlp": ("--steps", "50", "--batch", "32", "--data", DATA),
        "fashion_cnn": ("--steps", "50", "--batch", "32", "--data", DATA),
        "fashion_resnet": ("--steps", "20", "--batch", "16", "--data", DATA)}
FIRST = {"fashion_cnn": 10, "fashion_resnet": 5}


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


def main():
    need_sim()
    with tempfile.TemporaryDirectory() as folder:
        compare(folder, "fashion_mlp", "f32", 1e-4, *RUNS["fashion_mlp"])
        for model in FIRST:
            compare_roundings(folder, model)
        for model, flags in RUNS.items():
            compare(folder, model, "autocast(f16)", 2e-2, *flags)
    finish()


if __name__ == "__main__":
    main()
