"""Longer training on the simulated GPU agrees with the host's, from the same weights: trajectories.py CASTOR.

Loss by loss: within 1e-4 relative in f32, within 2e-2 in f16, over 50 steps of the MLP and the CNN and 20 of the ResNet,
with small batches of made-up images.
"""
import tempfile

from castor import finish
from simulated import CNN_DATA, DATA, compare, need_sim


def main():
    need_sim()
    with tempfile.TemporaryDirectory() as folder:
        for policy, bound in ("f32", 1e-4), ("autocast(f16)", 2e-2):
            compare(folder, "fashion_mlp", policy, bound, "--steps", "50", "--batch", "32", "--data", DATA)
            compare(folder, "fashion_cnn", policy, bound, "--steps", "50", "--batch", "8", "--data", CNN_DATA)
            compare(folder, "fashion_resnet", policy, bound, "--steps", "20", "--batch", "4", "--data", CNN_DATA)
    finish()


if __name__ == "__main__":
    main()
