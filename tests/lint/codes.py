"""Every error code of the table is reported somewhere in the source, and some test shows it."""
import pathlib
import re
import sys

root = pathlib.Path(__file__).resolve().parents[2]


def codes_in(*folders):
    """The codes that files of these folders name, the table apart."""
    found = set()
    for folder in folders:
        for file in (root / folder).rglob("*"):
            if file.is_file() and file.name != "diagnostics.def":
                found.update(re.findall(r"\bE\d{4}\b", file.read_text(errors="replace")))
    return found


table = {"E" + code for code in re.findall(r"^CODE\((\d{4}),", (root / "ir/diagnostics.def").read_text(), re.M)}
reported, shown = codes_in("frontend", "ir", "passes", "codegen", "runtime"), codes_in("tests")
problems = [f"{code} is reported nowhere" for code in sorted(table - reported)]
problems += [f"{code} has no test" for code in sorted(table - shown)]
print("\n".join(problems) or f"{len(table)} codes, each reported and tested")
sys.exit(bool(problems))
