"""Scenes for detection (ssd.net), made from Fashion-MNIST: scenes.py OUT.npz [COUNT [FOLDER]].

Each of COUNT scenes (2000) is 128 x 128 pixels of faint noise with one to four items on it, each enlarged once to twice,
which hardly overlap. Fields: image u8 [n, 1, 128, 128]; box f32 [n, 4, 4], left, top, right, bottom around an item's
pixels as shares of the side; label i32 [n, 4], the item's class + 1, or 0 where there is no further item. A tenth as many
scenes, of items of the test set, are the archive's test set. The same arguments give the same scenes. FOLDER has
Fashion-MNIST as IDX files.
"""
import array
import gzip
import os
import random
import struct
import sys
import zipfile

SIDE, OBJECTS, ITEM = 128, 4, 28
FOLDER = "/usr/share/datasets/fashion-mnist"


def read_items(folder, part):
    """Pixels of all items of a part, and their classes."""
    with gzip.open(os.path.join(folder, part + "-images-idx3-ubyte.gz")) as file:
        pixels = file.read()[16:]
    with gzip.open(os.path.join(folder, part + "-labels-idx1-ubyte.gz")) as file:
        return pixels, file.read()[8:]


def enlarge(item, size):
    """The item's rows at size x size pixels, each the nearest of it."""
    source = [i * ITEM // size for i in range(size)]
    return [bytes(item[y * ITEM + x] for x in source) for y in source]


def bounds(rows):
    """Left, top, right, bottom of what is not black."""
    lit = [y for y, row in enumerate(rows) if any(row)]
    columns = [x for x in range(len(rows)) if any(row[x] for row in rows)]
    return columns[0], lit[0], columns[-1] + 1, lit[-1] + 1


def share_covered(a, b):
    """The overlap of two boxes as a share of the smaller one."""
    width, height = min(a[2], b[2]) - max(a[0], b[0]), min(a[3], b[3]) - max(a[1], b[1])
    areas = [(box[2] - box[0]) * (box[3] - box[1]) for box in (a, b)]
    return max(width, 0) * max(height, 0) / min(areas)


def scene(draw, pixels, labels):
    canvas = [bytearray(draw.choices(range(12), k=SIDE)) for _ in range(SIDE)]
    boxes, classes = [], []
    for _ in range(draw.randint(1, OBJECTS)):
        number, size = draw.randrange(len(labels)), draw.randint(ITEM, 2 * ITEM)
        rows = enlarge(pixels[number * ITEM * ITEM:(number + 1) * ITEM * ITEM], size)
        left, top, right, bottom = bounds(rows)
        for _ in range(20):
            x, y = draw.randint(0, SIDE - size), draw.randint(0, SIDE - size)
            box = (x + left, y + top, x + right, y + bottom)
            if all(share_covered(box, other) < 0.1 for other in boxes):
                break
        else:
            continue
        for j in range(size):
            for i in range(size):
                canvas[y + j][x + i] = max(canvas[y + j][x + i], rows[j][i])
        boxes.append(box)
        classes.append(labels[number] + 1)
    while len(boxes) < OBJECTS:
        boxes.append((0, 0, 0, 0))
        classes.append(0)
    return b"".join(canvas), [edge / SIDE for box in boxes for edge in box], classes


def write_array(archive, name, kind, shape, data):
    header = f"{{'descr': '{kind}', 'fortran_order': False, 'shape': {shape}, }}"
    header += " " * (-(len(header) + 11) % 64) + "\n"
    archive.writestr(name + ".npy", b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header.encode() + data)


def write_scenes(archive, folder, draw, count, items):
    """Scenes of these items as arrays in a folder of the archive."""
    (pixels, labels), images, boxes, classes = items, [], array.array("f"), array.array("i")
    for _ in range(count):
        image, box, label = scene(draw, pixels, labels)
        images.append(image)
        boxes.extend(box)
        classes.extend(label)
    write_array(archive, folder + "image", "|u1", (count, 1, SIDE, SIDE), b"".join(images))
    write_array(archive, folder + "box", "<f4", (count, OBJECTS, 4), boxes.tobytes())
    write_array(archive, folder + "label", "<i4", (count, OBJECTS), classes.tobytes())


def main():
    out, count = sys.argv[1], int(sys.argv[2]) if len(sys.argv) > 2 else 2000
    folder, draw = sys.argv[3] if len(sys.argv) > 3 else FOLDER, random.Random(1)
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        write_scenes(archive, "", draw, count, read_items(folder, "train"))
        write_scenes(archive, "test/", draw, max(count // 10, 1), read_items(folder, "t10k"))


if __name__ == "__main__":
    main()
