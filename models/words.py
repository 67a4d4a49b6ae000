"""A text as numbers of words, for big_lstm.net: words.py VOCAB WINDOW TEXT OUT.npz.

A word is a run of letters, in lower case; the VOCAB - 1 most frequent ones and `unknown`, which stands for all others, are
numbered by how often they occur, from 0 on. Field tokens i32 [n, WINDOW]: one window every WINDOW - 1 words, so that each word
but the first is predicted once. The last twentieth of the text is the archive's test set.
"""
import array
import collections
import re
import sys
import zipfile

from scenes import write_array

UNKNOWN = "<unknown>"


def numbered(words, vocab):
    """The words as numbers."""
    known = [word for word, _ in collections.Counter(words).most_common(vocab - 1)]
    frequent = set(known)
    words = [word if word in frequent else UNKNOWN for word in words]
    number = {word: i for i, (word, _) in enumerate(collections.Counter(words).most_common())}
    return [number[word] for word in words]


def write_windows(archive, name, numbers, window):
    starts = range(0, len(numbers) - window + 1, window - 1)
    tokens = array.array("i", (number for start in starts for number in numbers[start:start + window]))
    write_array(archive, name, "<i4", (len(starts), window), tokens.tobytes())


def main():
    vocab, window, path, out = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3], sys.argv[4]
    with open(path, encoding="utf-8") as file:
        numbers = numbered(re.findall(r"[^\W\d_]+", file.read().lower()), vocab)
    training = len(numbers) * 19 // 20
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        write_windows(archive, "tokens", numbers[:training], window)
        write_windows(archive, "test/tokens", numbers[training:], window)


if __name__ == "__main__":
    main()
