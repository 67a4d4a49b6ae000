"""Every source file is named in the README of its folder, or of the nearest folder above that has one.

A name counts in backticks, with or without its ending. `_part` goes on from the name before it on the line, as in
`lower` (`_value`), and * stands for any part, as in `build*`.
"""
import fnmatch
import pathlib
import re
import sys

root = pathlib.Path(__file__).resolve().parents[2]
FOLDERS = ("frontend", "ir", "passes", "codegen", "runtime", "tests", "models")
ENDINGS = {".c", ".h", ".l", ".y", ".def", ".cu", ".py"}
# Their READMEs tell what files these hold, not which: each test, command or script says for itself what it does.
WHOLE = {"frontend/cli", "tests/unit", "tests/system", "tests/golden", "tests/pytorch"}


def named(readme):
    """Patterns of the stems that a README names."""
    found = set()
    for line in readme.read_text().splitlines():
        base = ""
        for word in re.findall(r"`([^`\s]+)[^`]*`", line):
            stem = word.rstrip(",").split("/")[-1].split(".")[0]
            if not stem.startswith("_"):
                base = stem
            found.add(base + stem if stem.startswith("_") else stem)
    return found - {"*"}


def readme_of(folder):
    while not (folder / "README.md").exists():
        folder = folder.parent
    return folder / "README.md"


missing, files = [], 0
names = {}
for path in sorted(path for folder in FOLDERS for path in (root / folder).rglob("*") if path.suffix in ENDINGS):
    if path.parent.relative_to(root).as_posix() in WHOLE:
        continue
    readme = readme_of(path.parent)
    if readme not in names:
        names[readme] = named(readme)
    files += 1
    stem = path.name.split(".")[0]
    if not any(fnmatch.fnmatchcase(stem, pattern) for pattern in names[readme]):
        missing.append(f"{path.relative_to(root)} is not named in {readme.relative_to(root)}")
print("\n".join(missing) or f"{files} files, all named")
sys.exit(1 if missing or not files else 0)
