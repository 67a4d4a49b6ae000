"""Longer training on the simulated GPU agrees with the host's, from the same weights: trajectories.py CASTOR.

Loss by loss: within 1e-4 relative in f32, within 2e-2 in f16, over 50 steps of the MLP and the CNN and 20 of the ResNet,
with small batches of made-up images.

The ResNet in f32 multiplies what the last bit of a sum changes by five a step from about the tenth on: the host with one
thread is 2e-3 from the host with two after 20 steps. There no two orders of adding agree to 1e-4, so a loss may be
twice as far off as the host has been from itself up to that step.
"""
import tempfile

from castor import check, finish
from simulated import DATA, compare, need_sim, train


def compare_sensitive(folder, model, policy, bound, *flags):
    one, two, sim = (train(folder, name, model, device, "--policy", policy, *flags, *more)[0]
                     for name, device, more in (("one", "host", ("--threads", "1")), ("two", "host", ("--threads", "2")),
                                                ("sim", "sim", ())))
    check(len(one) == len(two) == len(sim) > 0, f"{model} in {policy}: {len(one)}, {len(two)} and {len(sim)} losses")
    own = 0
    for step, (a, b, c) in enumerate(zip(one, two, sim)):
        own = max(own, abs(a - b) / abs(a))
        apart, most = abs(a - c) / abs(a), max(bound, 2 * own)
        check(apart <= most, f"{model} in {policy}: after {step} steps {apart:.2g} apart of at most {most:.2g}")


def main():
    need_sim()
    with tempfile.TemporaryDirectory() as folder:
        for policy, bound in ("f32", 1e-4), ("autocast(f16)", 2e-2):
            compare(folder, "fashion_mlp", policy, bound, "--steps", "50", "--batch", "32", "--data", DATA)
            compare(folder, "fashion_cnn", policy, bound, "--steps", "50", "--batch", "32", "--data", DATA)
            compare_sensitive(folder, "fashion_resnet", policy, bound, "--steps", "20", "--batch", "16", "--data", DATA)
    finish()


if __name__ == "__main__":
    main()
