"""What the system tests share: running castor, and counting failures. The binary is argv[1]."""
import json
import os
import subprocess
import sys

ROOT = os.path.abspath(os.path.join(os.path.dirname(__file__), "..", ".."))
CASTOR = os.path.abspath(sys.argv[1])
# The models that train on Fashion-MNIST as they stand; the others are large (pytorch/networks.py reduces them).
MODELS = sorted(os.path.join("models", name) for name in os.listdir(os.path.join(ROOT, "models"))
                if name.endswith(".net") and (name.startswith("fashion_") or name.endswith("flow.net")))
SKIPPED = 77
failures = 0
checks = 0


def castor(*words, code=0, text=None):
    """Output of one command, run from the project's root; a wrong exit code counts as a failure."""
    done = subprocess.run([CASTOR, *words], cwd=ROOT, input=text, capture_output=True, text=True)
    check(done.returncode == code, f"castor {' '.join(words)}: exit {done.returncode}, not {code}\n{done.stderr[-2000:]}")
    return done.stdout


def check(condition, message):
    global failures, checks
    checks += 1
    if not condition:
        failures += 1
        print(f"FAILED: {message}", file=sys.stderr)
    return condition


def need_sim():
    """Ends the test as skipped where there is no simulated GPU."""
    listed = json.loads(subprocess.run([CASTOR, "devices", "--json"], check=True, capture_output=True).stdout)
    sim = next(row for row in listed if row["name"] == "sim")
    if not sim["available"]:
        print(f"skipped: {sim['reason']}")
        sys.exit(SKIPPED)


def finish():
    print(f"{checks} checks, {failures} failed")
    sys.exit(1 if failures or not checks else 0)
