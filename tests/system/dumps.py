"""Every dump after every pass parses back to the same text: dumps.py CASTOR [MODEL ...]."""
import json
import sys

from castor import MODELS, castor, check, finish

passes = [row["name"] for row in json.loads(castor("passes", "--json"))]
for model in sys.argv[2:] or MODELS:
    for policy in ("f32", "autocast(f16)", "autocast(bf16)", "almost(f16)", "half(f16)"):
        for name in passes if policy == "autocast(f16)" else ["casts", "memory"]:
            text = castor("dump", model, "--emit", "ir", "--after", name, "--policy", policy, "--verify-each")
            again = castor("opt", "-", "--passes", "", text=text)
            check(len(text) > 1000, f"{model} after {name}: an empty dump")
            check(text == again, f"{model} under {policy}: the dump after {name} does not read back as the same text")
finish()
