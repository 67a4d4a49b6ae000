"""The kinds of networks in models/, reduced, trained for 20 steps on the simulated GPU and on the host from the same
weights: networks_simulated.py CASTOR.

Losses agree to 1e-4 relative in f32. GPT in halves has what only a GPU has: attention with dropout in one kernel each
way, gelu in the library's epilogue. The ResNet's agree to 5e-3, the host's convolutions
adding up product by product: sums are added up in another order there, and its steps multiply what that changes
(trajectories.py tells by how much). Winograd's way, whose roundings are three times as large, it is compared at a fifth
of its rate.
"""
import os
import tempfile

from castor import ROOT, finish, need_sim
from simulated import compare

IMAGES = ("--data", "synthetic(examples = 16, image = normal(0, 1), label = classes)")
TOKENS = ("--data", "synthetic(examples = 16, tokens = classes)")
SCENES = ("--data", "synthetic(examples = 8, image = normal(0, 1), box = uniform(0, 1), label = classes)")


def reduced(batch, data, **options):
    return ["--steps", "20", "--batch", str(batch), *data, *(word for item in options.items() for word in ("--set", "%s=%s" % item))]


def main():
    need_sim()
    os.environ["CC"] = os.path.join(ROOT, "tests", "fuzz", "quick-cc")  # what is computed does not depend on it
    with tempfile.TemporaryDirectory() as folder:
        compare(folder, "char_lstm", "f32", 1e-4, *reduced(4, TOKENS, vocab=31, context=8, width=16))
        compare(folder, "gpt", "f32", 1e-4, *reduced(2, TOKENS, vocab=31, context=12, width=32, heads=4, layers=3, drop=0))
        compare(folder, "gpt", "autocast(f16)", 2e-3, *reduced(2, TOKENS, vocab=32, context=24, width=64, heads=4, layers=2))
        compare(folder, "ssd", "f32", 1e-4, *reduced(2, SCENES, size=64, channels=1, classes=5, objects=3, maps=4, width=4))
        resnet = reduced(4, IMAGES, size=16, width=8)
        compare(folder, "resnet18_cifar", "f32", 5e-3, *resnet, "--plain-convolutions")
        compare(folder, "resnet18_cifar", "f32", 5e-3, *resnet, "--lr", "0.02", name="resnet18_slow")
    finish()


if __name__ == "__main__":
    main()
