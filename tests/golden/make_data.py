#!/usr/bin/env python3
"""Makes the data files of golden tests (`make-data` in their commands):

    make-data npz FILE NAME=TYPE:SHAPE:VALUES ...          make-data npz d.npz x=f4:8x4:0,1,2 y=i4:8:0
    make-data safetensors FILE NAME=TYPE:SHAPE:VALUES ...  make-data safetensors w.safetensors fc.bias=F32:3:0.5
    make-data header FILE JSON BYTES                       a safetensors file with any header, then so many zero bytes
    make-data idx FILE SHAPE VALUES                        gzipped when FILE ends in .gz
    make-data png FILE SHAPE VALUES                        HEIGHTxWIDTH gray, HEIGHTxWIDTHx3 in colour, x4 with alpha

The values are repeated until the shape is full."""
import gzip
import io
import itertools
import struct
import sys
import zipfile
import zlib

FORMATS = {"f4": "f", "f8": "d", "i4": "i", "i8": "q", "u1": "B", "b1": "B",
           "F32": "f", "F64": "d", "I32": "i", "I64": "q", "U8": "B", "BOOL": "B"}
BIG_ENDIAN_U32, NPY_VERSION_1 = ">I", b"\x93NUMPY\x01\x00"


def packed(type_name, shape, values):
    count = 1
    for size in shape:
        count *= size
    numbers = [float(v) if FORMATS[type_name] in "fd" else int(v) for v in values.split(",")]
    return struct.pack(f"<{count}{FORMATS[type_name]}", *itertools.islice(itertools.cycle(numbers), count))


def tensors(words):
    """NAME=TYPE:SHAPE:VALUES taken apart: (name, type, shape, bytes)."""
    for word in words:
        name, rest = word.split("=")
        type_name, shape, values = rest.split(":")
        shape = [int(size) for size in shape.split("x") if size]
        yield name, type_name, shape, packed(type_name, shape, values)


def write_npz(path, words):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, type_name, shape, data in tensors(words):
            order = "|" if type_name in ("u1", "b1") else "<"
            sizes = "".join(f"{size}," for size in shape)
            header = f"{{'descr': '{order}{type_name}', 'fortran_order': False, 'shape': ({sizes}), }}\n".encode()
            archive.writestr(zipfile.ZipInfo(f"{name}.npy"),
                             NPY_VERSION_1 + struct.pack("<H", len(header)) + header + data)


def write_header(path, header, data):
    with open(path, "wb") as file:
        file.write(struct.pack("<Q", len(header)) + header + data)


def write_safetensors(path, words):
    entries, data = [], b""
    for name, type_name, shape, values in tensors(words):
        entries.append(f'"{name}":{{"dtype":"{type_name}","shape":{shape},'
                       f'"data_offsets":[{len(data)},{len(data) + len(values)}]}}')
        data += values
    write_header(path, ("{" + ",".join(entries) + "}").encode(), data)


def write_idx(path, shape, values):
    shape = [int(size) for size in shape.split("x")]
    out = io.BytesIO()
    out.write(bytes([0, 0, 8, len(shape)]))
    for size in shape:
        out.write(struct.pack(BIG_ENDIAN_U32, size))
    out.write(packed("u1", shape, values))
    with open(path, "wb") as file:
        file.write(gzip.compress(out.getvalue(), mtime=0) if path.endswith(".gz") else out.getvalue())


def write_png(path, shape, values):
    height, width, channels = [int(size) for size in shape.split("x")] + ([1] if shape.count("x") == 1 else [])
    data, row = packed("u1", [height, width, channels], values), width * channels
    lines = b"".join(b"\0" + data[i * row:(i + 1) * row] for i in range(height))
    header = struct.pack(">IIBBBBB", width, height, 8, {1: 0, 3: 2, 4: 6}[channels], 0, 0, 0)
    with open(path, "wb") as file:
        file.write(b"\x89PNG\r\n\x1a\n")
        for name, body in ((b"IHDR", header), (b"IDAT", zlib.compress(lines)), (b"IEND", b"")):
            file.write(struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body)))


kind, target, *rest = sys.argv[1:]
if kind == "npz":
    write_npz(target, rest)
elif kind == "safetensors":
    write_safetensors(target, rest)
elif kind == "header":
    write_header(target, rest[0].encode(), bytes(int(rest[1])))
elif kind == "idx":
    write_idx(target, rest[0], rest[1])
elif kind == "png":
    write_png(target, rest[0], rest[1])
else:
    sys.exit(f"make-data: no kind {kind}")
