"""The first examples of a data set in idx files: data.py FROM TO TRAIN TEST."""
import gzip
import os
import struct
import sys


def cut(source, target, count):
    with gzip.open(source, "rb") as file:
        magic, _ = struct.unpack(">II", file.read(8))
        dimensions = file.read(4 * ((magic & 255) - 1))
        size = 1
        for (dimension,) in struct.iter_unpack(">I", dimensions):
            size *= dimension
        values = file.read(count * size)
    with gzip.GzipFile(target, "wb", mtime=0) as file:
        file.write(struct.pack(">II", magic, len(values) // size) + dimensions + values)


def main():
    source, target, train, test = sys.argv[1:]
    os.makedirs(target, exist_ok=True)
    for part, count in ("train", train), ("t10k", test):
        for kind in "images-idx3", "labels-idx1":
            name = f"{part}-{kind}-ubyte.gz"
            cut(os.path.join(source, name), os.path.join(target, name), int(count))


if __name__ == "__main__":
    main()
