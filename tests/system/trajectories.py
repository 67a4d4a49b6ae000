"""Longer training on the simulated GPU agrees with the host's, from the same weights: trajectories.py CASTOR.

Loss by loss: within 1e-4 relative in f32, within 2e-2 in f16, over 50 steps of the MLP and the CNN and 20 of the ResNet,
with small batches of made-up images, in f32 the host's convolutions adding up product by product as the GPU's do. (Winograd's
way their roundings are three times as large, and the losses of the CNN's 50 steps up to 1e-3 apart.)

CNN and ResNet in f32 are known to miss their bound, and so is the host beside itself: sums in another order change the
last bit of a loss, and from some step on each step multiplies the difference. The ResNet with 4 examples a step: the host
with one thread is 2e-3 from the host with two after 20 steps, the simulated GPU 1.2e-3. The CNN is within 2e-5 for 20
steps and at 3e-4 after 50; it has been within its bound with other orders of sums.
"""
import tempfile

from castor import finish, need_sim
from simulated import DATA, compare


def main():
    need_sim()
    with tempfile.TemporaryDirectory() as folder:
        for policy, bound, plain in ("f32", 1e-4, ["--plain-convolutions"]), ("autocast(f16)", 2e-2, []):
            compare(folder, "fashion_mlp", policy, bound, "--steps", "50", "--batch", "32", "--data", DATA)
            compare(folder, "fashion_cnn", policy, bound, *plain, "--steps", "50", "--batch", "32", "--data", DATA)
            compare(folder, "fashion_resnet", policy, bound, *plain, "--steps", "20", "--batch", "16", "--data", DATA)
    finish()


if __name__ == "__main__":
    main()
