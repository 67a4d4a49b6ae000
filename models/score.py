"""How good drawn images of 28 x 28 are, by a network that knows Fashion-MNIST: score.py --castor BINARY JUDGE [DRAWN NAME].

The inception score (Salimans et al. 2016) with models/fashion_cnn.net in the place of Inception: e to the mean, over all
images, of the divergence KL(p(class | image) || p(class)). It is 1 where the judge can't tell what images show or always
sees the same, and 10 where it is certain of each and sees all ten classes as often. JUDGE is the checkpoint of a trained
fashion_cnn; NAME of DRAWN (safetensors) is f32 [n, 1, 28, 28] in -1 … 1, as models/dcgan.net draws them, or u8. Without
them the first 1000 images of Fashion-MNIST's test set are judged, for a figure to compare with.

    castor train models/fashion_cnn.net --policy f32 --epochs 1 --out judge
    castor run models/dcgan.net … --batch 1000 --weights RUN/last.safetensors --fetch drawn.safetensors
    python3 models/score.py --castor build/castor judge/last.safetensors drawn.safetensors fake
"""
import argparse
import array
import gzip
import json
import math
import os
import struct
import subprocess
import sys
import tempfile

import picture

HERE = os.path.dirname(os.path.abspath(__file__))
REAL, REAL_COUNT = "/usr/share/datasets/fashion-mnist/t10k-images-idx3-ubyte.gz", 1000


def write_images(path, shape, values):
    """A safetensors file with the one u8 tensor `image`."""
    if values.typecode == "f":
        values = bytes(min(max(round(127.5 * (value + 1)), 0), 255) for value in values)
    header = json.dumps({"image": {"dtype": "U8", "shape": shape, "data_offsets": [0, len(values)]}}).encode()
    header += b" " * (-len(header) % 8)
    with open(path, "wb") as file:
        file.write(struct.pack("<Q", len(header)) + header + bytes(values))


def softmax(logits):
    powers = [math.exp(logit - max(logits)) for logit in logits]
    return [power / sum(powers) for power in powers]


def inception_score(shape, logits):
    n, classes = shape
    shares = [softmax(logits[i * classes:(i + 1) * classes]) for i in range(n)]
    mean = [sum(column) / n for column in zip(*shares)]
    return math.exp(sum(p * math.log(p / q) for row in shares for p, q in zip(row, mean) if p > 0) / n)


def real_images():
    with gzip.open(REAL) as file:
        return [REAL_COUNT, 28, 28], array.array("B", file.read()[16:16 + 784 * REAL_COUNT])


def evaluate(castor, model, *flags):
    """Runs a model once as it is after training; that other things are not fed is no news."""
    done = subprocess.run([castor, "run", os.path.join(HERE, model + ".net"), "--graph", "eval", "--policy", "f32", *flags],
                          stderr=subprocess.PIPE, text=True, check=False)
    if done.returncode:
        sys.exit(done.stderr)


def score(castor, judge, drawn=None, name=None):
    shape, values = picture.read(drawn, name) if drawn else real_images()
    with tempfile.TemporaryDirectory() as folder:
        images, logits = os.path.join(folder, "images"), os.path.join(folder, "logits")
        write_images(images, [shape[0], *shape[-2:]], values)
        evaluate(castor, "fashion_cnn", "--batch", str(shape[0]), "--weights", judge, "--feed", images,
                 "--values", "logits", "--fetch", logits)
        return inception_score(*picture.read(logits, "logits"))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--castor", default="castor")
    parser.add_argument("judge")
    parser.add_argument("drawn", nargs="?")
    parser.add_argument("name", nargs="?", default="fake")
    options = parser.parse_args()
    print(f"{score(options.castor, options.judge, options.drawn, options.name):.2f}")
