"""Does the fuzzer of programs find faults? Plants one after the other in a copy of the source and looks.

planted.py BUILD [NAME...]: BUILD is a folder with a sound castor; NAME: these faults alone. For each fault the fuzzer is
built with it and run over the very graphs of the usual tests, host first, until one fails; castor reduce then makes the
graph small. Every fault must be found, and left with at most 15 nodes. Prints a line a fault, and takes minutes.
"""
import os
import re
import subprocess
import sys
import tempfile
import time

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
NODES = 15  # of a reduced graph, at most
GRAPHS = [(device, part * 10000 + 1, 125) for device in ("host", "sim") for part in range(4)]  # as in tests/CMakeLists.txt

# Name, file, what stands there (once), what is planted.
FAULTS = [
    ("a permutation composed the wrong way round", "passes/simplify_movement.c",
     "x->attributes->permutation[permutation[axis]]", "permutation[x->attributes->permutation[axis]]"),
    ("a slice of a slice begins too early", "passes/simplify_movement.c",
     "inner->low[axis] + outer->low[axis] * inner->step[axis]", "inner->low[axis] + outer->low[axis]"),
    ("a - (-b) stays a subtraction", "passes/simplify_pointwise.c",
     "make(simplifier, node, OP_add, a, negated(b))", "make(simplifier, node, OP_sub, a, negated(b))"),
    ("a - b taken for b - a", "passes/cse.c",
     "return op == OP_add ||", "return op == OP_add || op == OP_sub ||"),
    ("slices of one size taken for the same", "passes/cse.c",
     "return sizeof(int64_t) * (size_t)attribute_length(node, field);\n    case FORM_COUNT", "return 0;\n    case FORM_COUNT"),
    ("a value's memory given away before its last use", "passes/memory.c",
     "planner->last_use[use->loads[i]->id] = use->number;", "planner->last_use[use->loads[i]->id] = use->number - 1;"),
    ("a variable written over while it is still read", "passes/memory.c",
     "planner->readers[at].value.kernel < write->kernel)", "planner->readers[at].value.kernel <= write->kernel)"),
    ("a value written over that other places still need", "passes/overwrite.c",
     "reader == writer && !overwrite->spread[load->id] &&", "reader == writer &&"),
    ("a table of one element written over while it is indexed", "passes/overwrite.c",
     "return overwrite->gathered[load->id] != overwrite->number;", "return true;"),
    ("a window over the batch run by strips", "passes/strips.c",
     "return node->operands[0]->type.shape.rank > attributes->window.rank;",
     "return node->operands[0]->type.shape.rank >= attributes->window.rank;"),
]


def plant(source, fault):
    """Changes the file of the copy; returns its former text."""
    _, name, old, new = fault
    path = os.path.join(source, name)
    with open(path) as file:
        text = file.read()
    if text.count(old) != 1:
        sys.exit(f"{name}: '{old}' stands there {text.count(old)} times: this list is out of date")
    with open(path, "w") as file:
        file.write(text.replace(old, new))
    return path, text


def build(folder):
    done = subprocess.run(["ninja", "-C", folder, "fuzz_programs"], capture_output=True, text=True)
    if done.returncode:
        sys.exit(done.stdout[-3000:])


def failures(fuzzer, work):
    """Each graph that fails: its file, passes, device, and how many graphs were looked at before it."""
    before = 0
    for device, seed, count in GRAPHS:
        while count > 0:
            done = subprocess.run([fuzzer, "0", str(seed), str(count), device], cwd=work, capture_output=True, text=True)
            if done.returncode == 0:
                before += count
                break
            found = re.search(r"failed at seed (\d+) with passes '([^']*)'", done.stderr)
            if not found:  # a whole round is at fault: one by one
                one = next((n for n in range(seed, seed + count)
                            if subprocess.run([fuzzer, "0", str(n), "1", device], cwd=work, capture_output=True).returncode),
                           None)
                if one is None:
                    break
                done = subprocess.run([fuzzer, "0", str(one), "1", device], cwd=work, capture_output=True, text=True)
                found = re.search(r"failed at seed (\d+) with passes '([^']*)'", done.stderr)
                if not found:  # a crash, which leaves no graph to reduce
                    before, count, seed = before + one + 1 - seed, count - (one + 1 - seed), one + 1
                    continue
            number = int(found.group(1))
            before, count, seed = before + number + 1 - seed, count - (number + 1 - seed), number + 1
            yield os.path.join(work, f"fuzz-{number}.ir"), found.group(2), device, before


def reduced(castor, fuzzer, path, passes, device):
    """How many nodes castor reduce leaves; None where the graph alone does not fail."""
    sim = " sim" if device == "sim" else ""
    keep = f"{fuzzer} check {{}} '{passes}'{sim}"
    if subprocess.run(keep.replace("{}", path), shell=True, capture_output=True).returncode == 0:
        return None
    done = subprocess.run([castor, "reduce", path, "--keep", keep], capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"castor reduce {path} --keep \"{keep}\": {done.stderr}")
    return len(re.findall(r"^ *%.* = ", done.stdout, re.M))


def judge(castor, fuzzer, work, name):
    start = time.monotonic()
    for path, passes, device, graphs in failures(fuzzer, work):
        nodes = reduced(castor, fuzzer, path, passes, device)
        if nodes is None:
            continue
        good = nodes <= NODES
        print(f"{name}: found in graph {graphs} on {device}, {nodes} nodes left, {time.monotonic() - start:.0f} s"
              + ("" if good else ": TOO MANY"), flush=True)
        return good
    print(f"{name}: NOT FOUND", flush=True)
    return False


def main():
    castor, names = os.path.abspath(os.path.join(sys.argv[1], "castor")), sys.argv[2:]
    good = True
    with tempfile.TemporaryDirectory() as folder:
        source, binaries = os.path.join(folder, "source"), os.path.join(folder, "build")
        subprocess.run(f"mkdir {source} && git ls-files -z | xargs -0 cp --parents -t {source}", shell=True, check=True, cwd=ROOT)
        subprocess.run(["cmake", "-S", source, "-B", binaries, "-G", "Ninja"], check=True, stdout=subprocess.DEVNULL)
        os.environ["CASTOR_SOURCE"] = source
        for number, fault in enumerate(FAULTS):
            if names and fault[0] not in names:
                continue
            work = os.path.join(folder, str(number))
            os.mkdir(work)
            path, text = plant(source, fault)
            build(binaries)
            good = judge(castor, os.path.join(binaries, "tests", "fuzz_programs"), work, fault[0]) and good
            with open(path, "w") as file:
                file.write(text)
    sys.exit(0 if good else 1)


if __name__ == "__main__":
    main()
