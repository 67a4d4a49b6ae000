"""Images of a safetensors file, side by side as a PNG: picture.py FILE.safetensors NAME OUT.png [BOXES SCORES [LEAST]].

NAME is f32 or u8 [n, 1 or 3, h, w]; its smallest value is drawn black, its largest white. With the names of boxes
[n, k, 4] (left, top, right, bottom in 0 … 1) and their scores [n, classes, k], as models/ssd.net puts them out, each box
with a score of at least LEAST (0.5) is drawn as a frame, and told on standard output. `castor run` writes such files:

    castor run models/dcgan.net … --weights RUN/best.safetensors --fetch drawn.safetensors
    python3 models/picture.py drawn.safetensors fake drawn.png
"""
import array
import json
import math
import struct
import sys
import zlib

CODES = {"F32": "f", "U8": "B"}


def read(path, name):
    """Shape and values of a tensor."""
    with open(path, "rb") as file:
        header = json.loads(file.read(struct.unpack("<Q", file.read(8))[0]))
        if name not in header or header[name]["dtype"] not in CODES:
            sys.exit(f"{path} has no f32 or u8 tensor {name}; it has {', '.join(sorted(header))}")
        begin, end = header[name]["data_offsets"]
        file.seek(begin, 1)
        values = array.array(CODES[header[name]["dtype"]])
        values.frombytes(file.read(end - begin))
    return header[name]["shape"], values


def canvas(shape, values):
    """Rows of RGB bytes: the images in a grid, a line of black between them; and how many stand in a row."""
    n, channels, height, width = shape
    columns = math.ceil(math.sqrt(n))
    rows = [bytearray(3 * columns * (width + 1)) for _ in range(math.ceil(n / columns) * (height + 1))]
    low, high = min(values), max(values)
    scale = 255 / (high - low) if high > low else 0
    for i in range(n):
        top, left = i // columns * (height + 1), i % columns * (width + 1)
        for y in range(height):
            for x in range(width):
                for c in range(3):
                    value = values[((i * channels + c % channels) * height + y) * width + x]
                    rows[top + y][3 * (left + x) + c] = round((value - low) * scale)
    return rows, columns


def frame(rows, left, top, box, width, height):
    """The edges of a box in red, as far as they lie on the image."""
    x0, y0, x1, y1 = (min(max(round(edge * size), 0), size - 1) for edge, size in zip(box, (width, height, width, height)))
    edges = [(x, y) for x in range(x0, x1 + 1) for y in (y0, y1)] + [(x, y) for y in range(y0, y1 + 1) for x in (x0, x1)]
    for x, y in edges:
        rows[top + y][3 * (left + x):3 * (left + x) + 3] = bytes((255, 0, 0))


def draw_boxes(rows, columns, shape, boxes, scores, least):
    _, _, height, width = shape
    (n, k, _), corners = boxes
    (_, classes, _), likely = scores
    for i in range(n):
        for j in range(k):
            for c in range(classes):
                score = likely[(i * classes + c) * k + j]
                if score < least:
                    continue
                box = corners[4 * (i * k + j):4 * (i * k + j) + 4]
                frame(rows, i % columns * (width + 1), i // columns * (height + 1), box, width, height)
                print(f"image {i}: class {c + 1}, {score:.2f}, at " + " ".join(f"{edge:.2f}" for edge in box))


def write_png(path, rows):
    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
    size = struct.pack(">IIBBBBB", len(rows[0]) // 3, len(rows), 8, 2, 0, 0, 0)
    body = zlib.compress(b"".join(b"\0" + row for row in rows), 9)
    with open(path, "wb") as file:
        file.write(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", size) + chunk(b"IDAT", body) + chunk(b"IEND", b""))


def main():
    if len(sys.argv) not in (4, 6, 7):
        sys.exit(__doc__)
    path, name, out = sys.argv[1:4]
    shape, values = read(path, name)
    if len(shape) != 4 or shape[1] not in (1, 3):
        sys.exit(f"{name} is {shape}, not [n, 1 or 3, h, w]")
    rows, columns = canvas(shape, values)
    if len(sys.argv) > 4:
        draw_boxes(rows, columns, shape, *(read(path, word) for word in sys.argv[4:6]), float((sys.argv[6:] or [0.5])[0]))
    write_png(out, rows)


if __name__ == "__main__":
    main()
