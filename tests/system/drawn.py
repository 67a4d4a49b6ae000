"""What models/picture.py and models/sample.py make of what castor run fetches: drawn.py CASTOR.

A picture with a frame around a box, its bytes read back; and a text that is known beforehand, from a model whose next
byte is the last one's successor.
"""
import os
import struct
import subprocess
import sys
import tempfile
import zlib

from castor import CASTOR, ROOT, check, finish

sys.path.insert(0, os.path.join(ROOT, "tests", "pytorch"))
import safetensors

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


def main():
    with tempfile.TemporaryDirectory() as folder:
        check_picture(folder)
        check_text(folder)
    finish()


main()
