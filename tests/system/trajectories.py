"""Longer training on the simulated GPU agrees with the host's, from the same weights: trajectories.py CASTOR.

Loss by loss: within 1e-4 relative in f32, within 2e-2 in f16, over 50 steps of the MLP and the CNN and 20 of the ResNet,
on made-up images. Batches are small, but not so small that one activation which rounds to the other side of relu leads
the weights apart: the ResNet with 4 examples agreed to 1e-7 for 11 steps, and then differed five times more each step.
"""
import tempfile

from castor import finish
from simulated import DATA, compare, need_sim


def main():
    need_sim()
    with tempfile.TemporaryDirectory() as folder:
        for policy, bound in ("f32", 1e-4), ("autocast(f16)", 2e-2):
            compare(folder, "fashion_mlp", policy, bound, "--steps", "50", "--batch", "32", "--data", DATA)
            compare(folder, "fashion_cnn", policy, bound, "--steps", "50", "--batch", "32", "--data", DATA)
            compare(folder, "fashion_resnet", policy, bound, "--steps", "20", "--batch", "16", "--data", DATA)
    finish()


if __name__ == "__main__":
    main()
