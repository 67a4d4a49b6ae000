"""Does the data loader keep up? The share of step time in which no batch was ready, as `castor train` tells it.

loader.py --castor BINARY [--rounds N]

Rows: fashion_cnn on the IDX files, as they are and with every augmentation; a folder of PNG images, augmented; a CSV file
of as many columns under a small network, whose steps are short; bytes of a text. The least of some rounds is printed.
Images, CSV and text are made here from Fashion-MNIST.
"""
import argparse
import gzip
import os
import re
import struct
import subprocess
import sys
import tempfile
import zlib

HERE = os.path.dirname(os.path.abspath(__file__))
CNN = os.path.join(HERE, "..", "..", "models", "fashion_cnn.net")
FASHION = "/usr/share/datasets/fashion-mnist"
AUGMENTED = "random_crop(2) |> random_flip"
EXAMPLES = 6000

IMAGES = """model (image: u8[batch, 1, 28, 28], label: class(10)[batch]) {
    x = image / 255 |> conv(32, 3, pad = 1) |> relu |> max_pool(2) |> conv(64, 3, pad = 1) |> relu |> max_pool(2)
    logits = x |> flatten |> linear(10) as head
    loss   = cross_entropy(logits, label)
}
train {
    data     images("images") |> random_crop(2) |> random_flip
    batch    128
    epochs   4
    minimize loss with sgd(lr = 0.01)
}
"""
CSV = """model (features: f32[batch, 784], label: class(10)[batch]) {
    logits = features / 255 |> linear(128) |> relu |> linear(10) as head
    loss   = cross_entropy(logits, label)
}
train {
    data     csv("table.csv")
    batch    128
    epochs   10
    minimize loss with sgd(lr = 0.01)
}
"""
TEXT = """model (tokens: u8[batch, 129]) {
    logits = tokens[:, :128] |> embedding(256, 32) |> linear(256) as head
    loss   = cross_entropy(logits, tokens[:, 1:])
}
train {
    data     text("train-images.bytes", window = 129, stride = 128)
    batch    64
    epochs   2
    minimize loss with sgd(lr = 0.01)
}
"""


def png(pixels):
    """A gray image of 28 by 28."""
    rows = b"".join(b"\0" + pixels[i * 28:i * 28 + 28] for i in range(28))
    chunks = ((b"IHDR", struct.pack(">IIBBBBB", 28, 28, 8, 0, 0, 0, 0)), (b"IDAT", zlib.compress(rows)), (b"IEND", b""))
    body = b"".join(struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
                    for name, data in chunks)
    return b"\x89PNG\r\n\x1a\n" + body


def make_data(folder):
    with gzip.open(os.path.join(FASHION, "train-images-idx3-ubyte.gz")) as file:
        pixels = file.read()[16:16 + EXAMPLES * 784]
    with gzip.open(os.path.join(FASHION, "train-labels-idx1-ubyte.gz")) as file:
        labels = file.read()[8:8 + EXAMPLES]
    with open(os.path.join(folder, "train-images.bytes"), "wb") as file:
        file.write(pixels)
    with open(os.path.join(folder, "table.csv"), "w") as file:
        file.write(",".join(f"p{i}" for i in range(784)) + ",label\n")
        for i, label in enumerate(labels):
            file.write(",".join(map(str, pixels[i * 784:i * 784 + 784])) + f",{label}\n")
    for i, label in enumerate(labels):
        place = os.path.join(folder, "images", str(label))
        os.makedirs(place, exist_ok=True)
        with open(os.path.join(place, f"{i}.png"), "wb") as file:
            file.write(png(pixels[i * 784:i * 784 + 784]))
    for name, text in (("images.net", IMAGES), ("csv.net", CSV), ("text.net", TEXT)):
        with open(os.path.join(folder, name), "w") as file:
            file.write(text)


def measure(castor, folder, words):
    """(ms a step, share of it that waited for data in percent)"""
    with tempfile.TemporaryDirectory() as run:
        command = [os.path.abspath(castor), "train", *words, "--device", "host", "--eval-every", "1000000 steps",
                   "--out", os.path.join(run, "r")]
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    found = re.search(r", ([0-9.e+-]+) ms each \(([0-9.]+) % waiting for data\)", done.stderr)
    if done.returncode or not found:
        sys.exit(f"{' '.join(command)}: exit {done.returncode}\n{done.stderr[-2000:]}")
    return float(found.group(1)), float(found.group(2))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--castor", required=True)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    cnn = os.path.abspath(CNN)
    rows = [("fashion_cnn", [cnn, "--steps", "100"]),
            ("fashion_cnn, augmented", [cnn, "--steps", "100", "--data", f'idx("{FASHION}") |> {AUGMENTED}']),
            ("images, augmented", ["images.net"]), ("csv", ["csv.net"]), ("text", ["text.net"])]
    with tempfile.TemporaryDirectory() as folder:
        make_data(folder)
        print(f"{'data':24} {'step ms':>8} {'waiting %':>9}")
        for name, words in rows:
            best = min((measure(options.castor, folder, words) for _ in range(options.rounds)), key=lambda row: row[1])
            print(f"{name:24} {best[0]:8.2f} {best[1]:9.1f}", flush=True)


main()
