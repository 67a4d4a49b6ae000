"""castor new: the project checks, is formatted, trains to the accuracy that its README states, and the README's commands run;
nothing is overwritten."""
import json
import os
import re
import subprocess
import tempfile

from castor import CASTOR, ROOT, check, finish

FILES = ["README.md", "spirals.csv", "spirals.net", "spirals.policy"]


def run(*words, where=None, code=0):
    environment = dict(os.environ, PATH=f"{os.path.dirname(CASTOR)}:{os.environ['PATH']}", XDG_CACHE_HOME=f"{folder}/cache")
    done = subprocess.run(words, cwd=where or folder, capture_output=True, text=True, env=environment)
    check(done.returncode == code, f"{' '.join(words)}: exit {done.returncode}, not {code}\n{done.stderr[-1500:]}")
    return done.stdout + done.stderr


def read(name):
    with open(os.path.join(folder, name), encoding="utf-8") as file:
        return file.read()


def best(run_folder):
    lines = [json.loads(line) for line in read(f"spirals/{run_folder}/log.jsonl").splitlines()]
    return max(line["eval"]["accuracy"] for line in lines if "eval" in line)


with tempfile.TemporaryDirectory() as folder:
    project = f"{folder}/spirals"
    run("castor", "new", "spirals")
    check(sorted(os.listdir(project)) == FILES, f"files {os.listdir(project)}")
    texts = [read(f"spirals/{name}") for name in FILES]
    check(not any("{{" in text for text in texts), "a placeholder is left")
    check(run("castor", "fmt", "spirals.net", where=project) == texts[2], "the model is not in the standard layout")

    readme = texts[0]
    stated = float(re.search(r"over (\d+) % of the test points", readme).group(1)) / 100
    commands = re.findall(r"^    (castor .*?)(?:\s+#.*)?$", readme, re.M)
    check(len(commands) == 6, f"README: {len(commands)} commands")
    for command in commands:
        run("sh", "-c", command, where=project)
    for run_folder, policy in (("runs/spirals.1", "autocast(f16)"), ("runs/spirals.2", "mine(f16)")):
        check(best(run_folder) > stated, f"{policy}: accuracy {best(run_folder)}, stated is over {stated}")
        check(json.loads(read(f"spirals/{run_folder}/run.json"))["policy"] == policy, f"{run_folder} ran in {policy}")
    check(os.path.exists(f"{project}/runs/spirals.1/report.html"), "no report")

    prelude = ""
    for name in os.listdir(os.path.join(ROOT, "frontend", "prelude")):
        with open(os.path.join(ROOT, "frontend", "prelude", name), encoding="utf-8") as file:
            prelude += file.read()
    for line in re.findall(r"^- \*\*The (?:network|optimizer)\*\*.*", readme, re.M):
        for name in re.findall(r"`([a-z_]+)`", line):
            known = re.search(rf"^(module|function|optimizer) {name}\(", prelude, re.M) or name in ("step", "steps")
            check(known, f"the README names `{name}`, which there is not")

    text = run("castor", "new", "spirals", code=3)
    check("spirals: exists already, and nothing is overwritten" in text, text)
    check([read(f"spirals/{name}") for name in FILES] == texts, "a file was overwritten")
    run("castor", "new", "spirals/other")
    check("other.csv" in read("spirals/other/other.net"), "a project elsewhere has its own name")
    run("castor", "check", "other.net", where=f"{project}/other")
    check("cannot make the folder" in run("castor", "new", "nowhere/other", code=3), "a folder that is not there")
    for name in ("a b", "2", "", "x/", "a.net"):
        run("castor", "new", name, code=2)

finish()
