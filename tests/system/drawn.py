"""What models/picture.py, sample.py and score.py make of what castor run fetches: drawn.py CASTOR.

A picture with a frame around a box, its bytes read back; a text that is known beforehand, from a model whose next byte is
the last one's successor; and the score of logits by hand, and of images that are all the same.
"""
import math
import os
import struct
import subprocess
import sys
import tempfile
import zlib

from castor import CASTOR, ROOT, castor, check, finish

sys.path[:0] = [os.path.join(ROOT, "tests", "pytorch"), os.path.join(ROOT, "models")]
import safetensors
import score

NEXT = """
model (tokens: class(256)[batch, 5]) {
    seen   = cast(one_hot(tokens[:, :4], 256), f16)
    logits = 9 * concat(zeros([batch, 4, 1]), seen[:, :, :255], axis = 2)
}
train {
    data  npz("d.npz")
    batch 1
    steps 1
}
"""


def script(name, *words):
    done = subprocess.run([sys.executable, os.path.join(ROOT, "models", name), *words], capture_output=True, text=True)
    check(done.returncode == 0, f"{name}: {done.stderr}")
    return done.stdout


def pixels(path):
    """Rows of RGB bytes of a PNG as picture.py writes it: one data chunk, no filters."""
    with open(path, "rb") as file:
        data = file.read()
    width, height = struct.unpack(">II", data[16:24])
    length = struct.unpack(">I", data[33:37])[0]
    body = zlib.decompress(data[41:41 + length])
    return [body[y * (3 * width + 1) + 1:(y + 1) * (3 * width + 1)] for y in range(height)]


def check_picture(folder):
    """Two images of 4 x 4, one bright at its corner; a box around the lower right quarter of the first."""
    path, out = os.path.join(folder, "in.safetensors"), os.path.join(folder, "out.png")
    safetensors.write(path, {"image": ("F32", [2, 1, 4, 4], [-1] * 16 + [1] + [0] * 15),
                             "boxes": ("F32", [2, 1, 4], [0.5, 0.5, 1, 1, 0, 0, 1, 1]),
                             "scores": ("F32", [2, 2, 1], [0.25, 0.75, 0, 0.25])})
    told = script("picture.py", path, "image", out, "boxes", "scores")
    rows = pixels(out)
    black, gray, white, red = bytes(3), bytes([128] * 3), bytes([255] * 3), bytes([255, 0, 0])
    check(told == "image 0: class 2, 0.75, at 0.50 0.50 1.00 1.00\n", f"told: {told}")
    check(rows[0] == black * 5 + white + gray * 3 + black, f"the first row: {rows[0].hex()}")
    check(rows[2] == black * 2 + red * 2 + black + gray * 4 + black, f"the third row: {rows[2].hex()}")
    check(len(rows) == 5 and rows[4] == black * 10, "a line of black below")


def check_text(folder):
    net = os.path.join(folder, "next.net")
    with open(net, "w") as file:
        file.write(NEXT)
    told = script("sample.py", "--context", "4", "--count", "7", "--temperature", "0", "a", CASTOR, "run", net)
    check(told == "abcdefgh\n", f"drawn: {told!r}")


def check_score(folder):
    """Ten images of ten classes, none of which is known; two of two classes that are certain to 3/4; and a whole run."""
    certain = [100.0 if i == j else 0.0 for i in range(10) for j in range(10)]
    check(abs(score.inception_score([10, 10], certain) - 10) < 1e-6, "ten classes, each certain")
    check(abs(score.inception_score([10, 10], [7.0] * 100) - 1) < 1e-12, "no class known")
    wanted = math.exp(0.75 * math.log(1.5) + 0.25 * math.log(0.5))
    found = score.inception_score([2, 2], [math.log(3), 0, 0, math.log(3)])
    check(abs(found - wanted) < 1e-12, f"two classes to 3/4: {found}, not {wanted}")
    judge, drawn = os.path.join(folder, "judge"), os.path.join(folder, "drawn.safetensors")
    castor("train", "models/fashion_cnn.net", "--policy", "f32", "--steps", "1", "--batch", "8", "--quiet", "--out", judge, "--data",
           "synthetic(examples = 8, test = 8, image = uniform(0, 255), label = classes)")
    safetensors.write(drawn, {"fake": ("F32", [3, 1, 28, 28], [-1, 0.5] * (3 * 392))})
    told = script("score.py", "--castor", CASTOR, os.path.join(judge, "last.safetensors"), drawn, "fake")
    check(told == "1.00\n", f"three images that are the same: {told}")


def main():
    with tempfile.TemporaryDirectory() as folder:
        check_picture(folder)
        check_text(folder)
        check_score(folder)
    finish()


main()
