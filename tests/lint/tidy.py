"""clang-tidy over files of the repository, side by side: tidy.py BUILD_FOLDER FILE.c ...

A file is looked at again only when what the compiler sees of it, the checks or the tool have changed: what is hashed is
its preprocessed text with comments (they carry NOLINT). BUILD_FOLDER/tidy holds the hashes of files found clean.
A finding is one line; `clang-tidy -p BUILD_FOLDER FILE.c` shows how it comes about.
"""
import concurrent.futures
import hashlib
import json
import os
import shlex
import subprocess
import sys


def preprocessors(build):
    """By file: the command that prints its preprocessed text, and the folder in which it runs."""
    with open(os.path.join(build, "compile_commands.json")) as file:
        entries = json.load(file)
    found = {}
    for entry in entries:
        words = shlex.split(entry["command"])
        output = words.index("-o")
        del words[output:output + 2]
        words[words.index("-c")] = "-E"
        found[os.path.realpath(entry["file"])] = ([*words, "-C"], entry["directory"])
    return found


def tidy(build, path, preprocess, rules):
    """What clang-tidy finds in a file; empty when it is clean."""
    command, folder = preprocess[os.path.realpath(path)]
    text = subprocess.run(command, cwd=folder, check=True, capture_output=True).stdout
    stamp = os.path.join(build, "tidy", hashlib.sha256(rules + text).hexdigest())
    if os.path.exists(stamp):
        return ""
    done = subprocess.run(["clang-tidy", "-p", build, "--quiet", path], capture_output=True, text=True)
    if done.returncode:
        lines = [line for line in done.stdout.splitlines(True) if ": error: " in line or ": warning: " in line]
        return "".join(lines) or done.stdout + done.stderr
    open(stamp, "w").close()
    return ""


def main():
    build, *paths = sys.argv[1:]
    os.makedirs(os.path.join(build, "tidy"), exist_ok=True)
    preprocess = preprocessors(build)
    version = subprocess.run(["clang-tidy", "--version"], check=True, capture_output=True).stdout
    with open(".clang-tidy", "rb") as file:
        rules = version + file.read()
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        findings = [found for found in pool.map(lambda path: tidy(build, path, preprocess, rules), paths) if found]
    print("".join(findings), end="")
    sys.exit(bool(findings))


if __name__ == "__main__":
    main()
