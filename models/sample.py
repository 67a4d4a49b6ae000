"""Text from a trained language model over bytes, character by character:

    sample.py [--count N] [--temperature T] [--seed S] --context C TEXT COMMAND...

COMMAND is a `castor run` of a model that takes `tokens` [n, C + 1] and has a value `logits` [n, C, 256] in which no place
sees a later one, such as models/gpt.net and models/char_lstm.net. What follows TEXT is drawn from its predictions: sharper
ones below temperature 1, the likeliest at 0. For instance, after training as models/gpt.net's head says,

    python3 models/sample.py --context 128 "In the beginning " castor run models/gpt.net --set vocab=256 \\
        --set context=128 --set width=128 --set heads=4 --set layers=4 --weights RUN/best.safetensors
"""
import argparse
import array
import json
import math
import os
import random
import struct
import subprocess
import sys
import tempfile


def write_tokens(path, tokens):
    header = json.dumps({"tokens": {"dtype": "I32", "shape": [1, len(tokens)], "data_offsets": [0, 4 * len(tokens)]}}).encode()
    with open(path, "wb") as file:
        file.write(struct.pack("<Q", len(header)) + header + array.array("i", tokens).tobytes())


def read_logits(path, place):
    """Those of one place, of whatever float type they are."""
    with open(path, "rb") as file:
        header = json.loads(file.read(struct.unpack("<Q", file.read(8))[0]))["logits"]
        body = file.read()
    vocab = header["shape"][-1]
    size = {"F32": 4, "F16": 2, "BF16": 2}[header["dtype"]]
    begin = header["data_offsets"][0] + place * vocab * size
    data = body[begin:begin + vocab * size]
    if header["dtype"] == "BF16":  # the upper half of an f32
        data = b"".join(b"\0\0" + data[i:i + 2] for i in range(0, len(data), 2))
    return struct.unpack(f"<{vocab}{'e' if header['dtype'] == 'F16' else 'f'}", data)


def choose(logits, temperature, source):
    best = max(logits)
    if temperature == 0:
        return logits.index(best)
    weights = [math.exp((x - best) / temperature) for x in logits]
    return source.choices(range(len(logits)), weights)[0]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=200)
    parser.add_argument("--temperature", type=float, default=0.8)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--context", type=int, required=True)
    parser.add_argument("text")
    parser.add_argument("command", nargs=argparse.REMAINDER)
    options = parser.parse_args()
    text, source = list(options.text.encode()), random.Random(options.seed)
    if not text or not options.command:
        parser.error("a text to begin with and a castor command are needed")
    sys.stdout.buffer.write(bytes(text))
    with tempfile.TemporaryDirectory() as folder:
        feed, fetch = os.path.join(folder, "feed.safetensors"), os.path.join(folder, "fetch.safetensors")
        command = [*options.command, "--feed", feed, "--fetch", fetch, "--values", "logits"]
        for _ in range(options.count):
            seen = text[-options.context:]
            write_tokens(feed, seen + [0] * (options.context + 1 - len(seen)))
            done = subprocess.run(command, capture_output=True)
            if done.returncode:
                sys.exit(done.stderr.decode(errors="replace"))
            text.append(choose(read_logits(fetch, len(seen) - 1), options.temperature, source))
            sys.stdout.buffer.write(bytes(text[-1:]))
            sys.stdout.buffer.flush()
    print()


main()
