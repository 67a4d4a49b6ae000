"""A first-time user with nothing but the README's section on data of their own: an installed castor, an empty folder, a CSV
file with the columns of the README, its model and its commands. And the README's picture: what its command draws."""
import json
import os
import random
import re
import shutil
import subprocess
import tempfile

from castor import CASTOR, ROOT, check, finish

README = open(os.path.join(ROOT, "README.md"), encoding="utf-8").read()
SECTION = re.search(r"^## Your own data\n(.*?)^## ", README, re.M | re.S).group(1)
KINDS = {"setosa": (5.0, 3.4, 1.5, 0.2), "versicolor": (5.9, 2.8, 4.3, 1.3), "virginica": (6.6, 3.0, 5.6, 2.0)}


def block(kind):
    found = re.findall(rf"^```{kind}\n(.*?)^```$", SECTION, re.M | re.S)
    check(len(found) == 1, f"README: {len(found)} blocks of {kind}")
    return found[0]


def write_flowers(path, header):
    draw = random.Random(7)
    rows = [(kind, [draw.gauss(mean, 0.15) for mean in means]) for kind, means in KINDS.items() for _ in range(60)]
    draw.shuffle(rows)
    with open(path, "w", encoding="utf-8") as file:
        file.write(header + "\n")
        for kind, values in rows:
            file.write(",".join(f"{value:.1f}" for value in values) + f",{kind}\n")


def words(picture):
    """What stands in it; where graphviz puts it is another matter."""
    return sorted(re.findall(r"<text[^>]*>([^<]*)</text>", picture))


def check_picture():
    command = re.search(r"`castor (dump models/fashion_mlp.net --emit svg[^`]*)`", README).group(1)
    drawn = subprocess.run([CASTOR, *command.split()], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    shown = open(os.path.join(ROOT, "models/fashion_mlp.svg"), encoding="utf-8").read()
    check(words(drawn) and words(drawn) == words(shown), f"models/fashion_mlp.svg is not what `castor {command}` draws")


if shutil.which("dot"):
    check_picture()

with tempfile.TemporaryDirectory() as folder:
    prefix, own = f"{folder}/prefix", f"{folder}/own"
    os.mkdir(own)
    subprocess.run(["cmake", "--install", os.path.dirname(CASTOR), "--prefix", prefix], check=True, capture_output=True)
    header = re.search(r"^    ([a-z_]+(,[a-z_]+)+)$", SECTION, re.M).group(1)
    check(header.endswith(",species") and header.count(",") == 4, f"README: columns {header}")
    write_flowers(f"{own}/flowers.csv", header)
    with open(f"{own}/flowers.net", "w", encoding="utf-8") as file:
        file.write(block("net"))
    environment = {"PATH": f"{prefix}/bin:/usr/bin:/bin", "HOME": own, "LC_ALL": "C"}
    commands = block("sh").splitlines()
    check(len(commands) <= 5, f"README: {len(commands)} commands")
    for command in commands:
        done = subprocess.run(["sh", "-c", command], cwd=own, env=environment, capture_output=True, text=True)
        check(done.returncode == 0, f"{command}: exit {done.returncode}\n{done.stderr[-1500:]}")
        if command.startswith("castor eval"):
            accuracy = float(re.search(r"accuracy +(\S+)", done.stdout).group(1))
            check(accuracy > 0.9, f"accuracy {accuracy}")
    evals = [json.loads(line) for line in open(f"{own}/runs/flowers.1/log.jsonl", encoding="utf-8") if '"eval"' in line]
    check(len(evals) == 40 and evals[-1]["eval"]["accuracy"] > 0.9, "the log's evaluations")
    check(os.path.getsize(f"{own}/runs/flowers.1/report.html") > 10000, "no report")
    done = subprocess.run(["./flowers", "--epochs", "1", "--quiet"], cwd=own, env=environment, capture_output=True, text=True)
    check(done.returncode == 0 and os.path.exists(f"{own}/runs/flowers.2/last.safetensors"), f"./flowers: {done.stderr[-500:]}")

finish()
