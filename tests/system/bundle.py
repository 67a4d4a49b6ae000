"""tests/bundle/run.sh around programs that only note how they are called: bundle.py CASTOR (which it does not run)."""
import os
import shutil
import subprocess
import tempfile

from castor import ROOT, check, finish

# Says the path of libraries and the words; one test hangs, one fails, one is skipped.
NOTE = """#!/bin/sh
echo "$0 $* LD_LIBRARY_PATH=$LD_LIBRARY_PATH" >>"$NOTES"
case $0 in
*test_sim_first) sleep 60 ;;
*test_sim_opcodes) exit 1 ;;
*test_sim_matrix) exit 77 ;;
esac
"""
TESTS = ["kernel_ops", "cuda_device", "cuda_compile", "sim_first", "sim_opcodes", "sim_matrix", "sim_faults",
         "sim_kernels"]


def write(path, text):
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "w", encoding="utf-8") as file:
        file.write(text)
    os.chmod(path, 0o755)


with tempfile.TemporaryDirectory() as folder:
    notes = os.path.join(folder, "notes")
    shutil.copy(os.path.join(ROOT, "tests", "bundle", "run.sh"), folder)
    for name in ["bin/castor"] + [f"tests/test_{test}" for test in TESTS]:
        write(os.path.join(folder, name), NOTE)
    toolkit = os.path.join(folder, "toolkit")
    environment = {**os.environ, "NOTES": notes, "LIMIT": "1", "CUDA_HOME": toolkit}
    done = subprocess.run([os.path.join(folder, "run.sh"), "cuda"], capture_output=True, text=True, env=environment,
                          timeout=300)
    with open(notes, encoding="utf-8") as file:
        calls = file.read().splitlines()
    gate = next(call for call in calls if "bin/castor profile" in call)
    check('--data idx("data")' in gate, f"the gate needs the data that came along: {gate}")
    check(all(f"{toolkit}/lib:" in call for call in calls), "wheels have their libraries in lib")
    check("FAILED: test_sim_first (no end within 1 s)" in done.stdout, f"what hangs is ended:\n{done.stdout}")
    check("FAILED: test_sim_opcodes (exit 1)" in done.stdout and "skipped: test_sim_matrix" in done.stdout,
          f"what fails and what is skipped:\n{done.stdout}")
    check(done.returncode == 1, f"exit {done.returncode}")
finish()
