"""The models trained at reduced size in f32, autocast(f16) and autocast(bf16): what each reaches on its test set.

trained.py --castor BINARY [--only NAME ...] [--policies P,Q] [--jobs N] [--work FOLDER]
trained.py --table | --write | --check

The first form trains what models/trained.json does not hold yet of `ROWS` and `SCALING`, one thread each, --jobs side by
side (as many as there are cores), in --work (build/trained), where it first makes the data. Each run that has ended is kept in
models/trained.json under its command. --table prints the tables of models/README.md, --write puts them there and forgets
results of commands that are no row's any more, and --check fails where the README says anything else.
"""
import argparse
import concurrent.futures
import fcntl
import json
import math
import os
import re
import shlex
import shutil
import subprocess
import sys
import zlib
from dataclasses import dataclass

import score

HERE = os.path.dirname(os.path.abspath(__file__))
RESULTS = os.path.join(HERE, "trained.json")
README = os.path.join(HERE, "README.md")
DIVERGED = 4  # the exit code of castor train
POLICIES = ["f32", "autocast(f16)", "autocast(bf16)"]

JUDGE = "--policy f32 --epochs 1 --seed 1 --threads 1 --quiet"  # of score.py, flags of fashion_cnn's training
FASHION = "idx(\"/usr/share/datasets/fashion-mnist\")"
SCENES = ("--set size=128 --set channels=1 --set classes=11 --set objects=4 --set maps=4 --set width=8 --batch 8 "
          "--data 'npz(\"scenes.npz\") |> centred(mean = 40, std = 70)'")
SMALL = f"--set size=28 --set channels=1 --set classes=10 --batch 64 --data '{FASHION} |> normalize(73, 90)'"


@dataclass(frozen=True)
class Row:
    model: str
    flags: str           # of `castor train models/MODEL.net`; $SMALL stands for SMALL
    metric: str          # of the evaluation after the last step, or score.py's
    unit: str            # as in UNITS
    published: str = ""  # at full size, on the data that the model's head names
    seeds: tuple = (1,)
    note: str = ""       # beside the model's name in a table
    cases: tuple = tuple((policy, "") for policy in POLICIES)  # policies, each with a scale; "": the file's


def cycle(rate):
    return f"--lr '{rate} * one_cycle(step, steps)'"


def images(model, published, flags, steps, rate, **others):
    return Row(model, f"$SMALL {flags} --steps {steps} {cycle(rate)}", "accuracy", "%", published, **others)


def adam(rate):
    return f"--minimize 'loss with adam(lr = {rate} * one_cycle(step, steps))'"


ROWS = [
    Row("fashion_resnet", "--set width=8 --set depth=1 --steps 600", "accuracy", "%"),
    images("resnet18", "69.8 %", "--set width=16", 600, 0.1, seeds=(1, 2, 3)),
    images("resnet50", "76.1 %", "--set width=8", 1000, 0.05),
    images("resnet18_cifar", "95 %", "--set width=8", 400, 0.1),
    images("resnet9", "94 %", "--set width=8", 600, 0.1),
    Row("vgg16", f"$SMALL --set width=8 --set pooled=1 --set hidden=512 --steps 600 {adam(0.001)}", "accuracy", "%", "71.6 %"),
    Row("alexnet", "$SMALL --set kernel=5 --set stride=1 --set pooled=2 --set width=16 --set hidden=256 --steps 200 "
        f"{adam(0.001)}", "accuracy", "%", "56.5 %", seeds=(1, 2, 3)),
    images("mobilenet_v2", "71.9 %", "--set width=0.25", 250, 0.03),
    images("googlenet", "69.8 %", "--set stride=1 --set width=0.125 --set hidden=64", 400, 0.05),
    images("inception_v2", "72.2 %", "--set stride=1 --set width=0.125", 200, 0.05),
    Row("inception_v3", f"$SMALL --set zoom=3 --set aux=false --set width=0.125 --steps 150 {adam(0.004)}", "accuracy", "%",
        "77.3 %", seeds=(1, 2, 3)),
    images("vit_s16", "76.5 %", "--set patch=4 --set width=64 --set depth=4 --set heads=4", 400, 0.002),
    Row("ssd", f"{SCENES} --steps 1500 {adam(0.002)}", "map", "%", "74.3 %"),
    Row("dcgan", f"--set base=7 --set doublings=2 --set channels=1 --set width=16 --data '{FASHION}' --batch 64 --steps 4000",
        "score", "score"),
    Row("char_lstm", f"--set width=128 --set context=32 --batch 32 --steps 1000 {cycle(0.004)}", "loss", "bits"),
    Row("big_lstm", "--set vocab=256 --set embed=64 --set width=256 --set projection=64 --set sampled=64 --batch 32 --steps 1000 "
        f"{cycle(1)}", "perplexity", "perplexity", "30.6"),
    Row("gpt", "--set vocab=256 --set context=64 --set width=96 --set heads=4 --set layers=3 --batch 16 --steps 500 "
        f"{cycle(0.003)}", "loss", "bits"),
]
# What a scale is for: f16 without it, beside f32 and f16 with it. SSD with a loss so small that it matters; bigLSTM sees
# words here, with the 256 windows and 8192 drawn words of Micikevicius et al. 2018: a drawn word's share of the mean is
# about 2^-25.
SCALES = (("f32", ""), ("autocast(f16)", "none"), ("autocast(f16)", ""))
SCALING = [
    Row("ssd", f"{SCENES} --set weight=2^-16 --steps 500 {adam(0.002)}", "map", "%", cases=SCALES, note=", loss times 2^-16"),
    Row("big_lstm", "--set vocab=8192 --set embed=64 --set width=128 --set projection=64 --data 'npz(\"words.npz\")' --batch 256 "
        "--steps 120 --minimize 'loss with adam(lr = 2e-3)'", "perplexity", "perplexity", cases=SCALES),
]


def row_words(row):
    """The flags of a row's command."""
    return shlex.split(row.flags.replace("$SMALL", SMALL))


def run_words(row, policy, scale, seed):
    return row_words(row) + ["--policy", policy, "--seed", str(seed)] + (["--scale", scale] if scale else [])


def key(row, policy, scale, seed):
    """What a result is kept under: all of the command that it depends on."""
    return shlex.join([row.model, *run_words(row, policy, scale, seed)])


def runs_of(row):
    return [(row, policy, scale, seed) for seed in row.seeds for policy, scale in row.cases]


# ---- results ----

def read_results():
    if not os.path.exists(RESULTS):
        return {}
    with open(RESULTS) as file:
        return json.load(file)


def change_results(change):
    """Replaces the results by change(results); others may be adding to the file as well."""
    with open(RESULTS, "a+") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        file.seek(0)
        results = change(json.loads(file.read() or "{}"))
        file.seek(0)
        file.truncate()
        lines = (f"{json.dumps(name)}: {json.dumps(results[name])}" for name in sorted(results))
        file.write("{\n" + ",\n".join(lines) + "\n}\n")


# ---- runs ----

def make_data(work):
    """The files that the rows' data lines name."""
    text = os.path.join(work, "kjv.txt")
    if not os.path.exists(text):
        with open(text + ".part", "w") as file:
            subprocess.run(["bible", "gen1:1-rev22:21"], stdout=file, check=True)
        os.rename(text + ".part", text)
    for script, *words, made in (("scenes.py", "scenes.npz"), ("words.py", "8192", "21", "kjv.txt", "words.npz")):
        if not os.path.exists(os.path.join(work, made)):
            subprocess.run([sys.executable, os.path.join(HERE, script), *words, made], cwd=work, check=True)


def make_judge(castor, work):
    """A trained fashion_cnn, for score.py."""
    judge = os.path.join(work, "judge")
    if not os.path.exists(os.path.join(judge, "last.safetensors")):
        shutil.rmtree(judge, ignore_errors=True)
        subprocess.run([castor, "train", os.path.join(HERE, "fashion_cnn.net"), *JUDGE.split(), "--out", judge], check=True)
    return os.path.join(judge, "last.safetensors")


def score_drawn(castor, work, row, run):
    """The score of a thousand images that a trained generator draws."""
    words, drawn = row_words(row), os.path.join(run, "drawn.safetensors")
    options = [word for flag, option in zip(words, words[1:]) if flag == "--set" for word in (flag, option)]
    score.evaluate(castor, row.model, *options, "--batch", "1000", "--seed", "1", "--threads", "1",
                   "--weights", os.path.join(run, "last.safetensors"), "--values", "fake", "--fetch", drawn)
    return score.score(castor, os.path.join(work, "judge", "last.safetensors"), drawn, "fake")


def own_seconds(pid):
    """CPU seconds of a process that has ended and is not waited for, without its children: compilers."""
    with open(f"/proc/{pid}/stat") as file:
        fields = file.read().rpartition(")")[2].split()
    return sum(int(field) for field in fields[11:13]) / os.sysconf("SC_CLK_TCK")


def train(castor, work, row, policy, scale, seed):
    """Trains a row once and keeps what it came to."""
    run = os.path.join(work, "runs", f"{row.model}.{zlib.crc32(key(row, policy, scale, seed).encode()):08x}")
    shutil.rmtree(run, ignore_errors=True)
    os.makedirs(os.path.dirname(run), exist_ok=True)
    command = [castor, "train", os.path.join(HERE, row.model + ".net"), *run_words(row, policy, scale, seed), "--threads", "1",
               "--quiet", "--out", run]
    with open(run + ".err", "w+") as errors:
        process = subprocess.Popen(command, cwd=work, stderr=errors)
        os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
        seconds = own_seconds(process.pid)
        code = process.wait()
        errors.seek(0)
        if code not in (0, DIVERGED):
            sys.exit(f"{shlex.join(command)}: exit {code}\n{errors.read()[-2000:]}")
    with open(os.path.join(run, "log.jsonl")) as file:
        entries = [json.loads(line) for line in file]
    steps = [entry for entry in entries if "lr" in entry]
    ends = [entry["eval"] for entry in entries if "eval" in entry]
    result = {"eval": ends[-1] if ends and code != DIVERGED else None, "steps": len(steps), "skipped": steps[-1]["skipped"],
              "scale": steps[-1]["scale"], "seconds": round(seconds, 1)}
    if row.metric == "score" and result["eval"]:
        result["eval"]["score"] = score_drawn(castor, work, row, run)
    if row in SCALING:
        result["losses"] = [steps[len(steps) * i // 6 - 1]["loss"] for i in range(1, 7)]
    change_results(lambda results: {**results, key(row, policy, scale, seed): result})
    print(f"{row.model} {policy} {scale} seed {seed}: {json.dumps(result)}", flush=True)


def train_all(options, rows):
    work = os.path.abspath(options.work)
    os.makedirs(work, exist_ok=True)
    make_data(work)
    ended = read_results()
    runs = {key(*run): run for row in rows for run in runs_of(row) if run[1] in options.policies.split(",")}
    runs = [run for name, run in runs.items() if name not in ended]
    if any(row.metric == "score" for row, *_ in runs):
        make_judge(os.path.abspath(options.castor), work)
    with concurrent.futures.ThreadPoolExecutor(options.jobs) as pool:
        for job in [pool.submit(train, os.path.abspath(options.castor), work, *run) for run in runs]:
            job.result()


# ---- tables ----

# By unit or metric.
NAMES = {"bits": "bits a character", "perplexity": "perplexity of characters", "score": "score of what it draws",
         "map": "mean average precision"}
UNITS = {"%": lambda value: f"{100 * value:.1f} %", "bits": lambda value: f"{value / math.log(2):.2f}",
         "score": lambda value: f"{value:.2f}", "perplexity": lambda value: f"{value:.1f}"}


def shown(row, result):
    """What a run came to, as the tables have it."""
    if not result:
        return "not run"
    if not result["eval"]:
        return f"diverged at step {result['steps']}"
    return UNITS[row.unit](result["eval"][row.metric])


def table(head, rows):
    lines = ["| " + " | ".join(cells) + " |" for cells in (head, *rows)]
    return "\n".join([lines[0], "|" + "---|" * len(head), *lines[1:]]) + "\n"


def reached_table(results):
    rows = []
    for row in ROWS:
        ended = [results.get(key(row, policy, scale, row.seeds[0])) for policy, scale in row.cases]
        seconds = " / ".join(f"{result['seconds']:.0f}" if result else "–" for result in ended)
        name, flags = NAMES.get(row.unit) or NAMES.get(row.metric, row.metric), row.flags.replace("|", "\\|")
        rows.append([row.model, row.published or "–", name, *(shown(row, result) for result in ended), seconds, f"`{flags}`"])
    return table(["network", "published", "here", "f32", "f16", "bf16", "CPU seconds", "flags"], rows)


def spread_table(results):
    rows = []
    for row in ROWS:
        if len(row.seeds) > 1:
            rows.append([row.model] + [", ".join(shown(row, results.get(key(row, policy, scale, seed))) for seed in row.seeds)
                                       for policy, scale in row.cases])
    return table(["network, seeds 1, 2, 3", "f32", "f16", "bf16"], rows)


def scaling_table(results):
    rows = []
    for row in SCALING:
        for policy, scale in row.cases:
            result = results.get(key(row, policy, scale, row.seeds[0]))
            scale = "–" if policy == "f32" else scale or "dynamic"
            losses = [f"{loss:#.3g}" for loss in result["losses"]] if result else ["–"] * 6
            rows.append([row.model + row.note, policy, scale, *losses, f"{row.metric} {shown(row, result)}"])
    return table(["network", "precision", "scale", *(f"{i}/6" for i in range(1, 7)), "test set"], rows)


TABLES = [reached_table, spread_table, scaling_table]


def replace_table(text, made):
    """The text with the table that has the same head replaced."""
    head = made[:made.index("\n") + 1]
    begin = text.index(head)
    end = re.compile(r"^(?!\|)", re.M).search(text, begin).start()
    return text[:begin] + made + text[end:]


def readme_with(tables):
    with open(README) as file:
        text = file.read()
    for made in tables:
        text = replace_table(text, made)
    return text


def check(tables):
    """Whether the README has these tables and SMALL; says what is not so."""
    with open(README) as file:
        text = file.read()
    same, told = text == readme_with(tables), f"\n    {SMALL}\n" in text
    if not same:
        print("models/README.md has other tables than models/trained.py --table")
    if not told:
        print("models/README.md has another $SMALL than models/trained.py")
    return same and told


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--castor")
    parser.add_argument("--only", nargs="+", metavar="NAME")
    parser.add_argument("--policies", default=",".join(POLICIES))
    parser.add_argument("--jobs", type=int, default=os.cpu_count())
    parser.add_argument("--work", default=os.path.join(HERE, "..", "build", "trained"))
    for action in ("table", "write", "check"):
        parser.add_argument("--" + action, action="store_true")
    options = parser.parse_args()
    tables = [make(read_results()) for make in TABLES]
    if options.table:
        print("\n".join(tables), end="")
    elif options.write:
        text = readme_with(tables)
        with open(README, "w") as file:
            file.write(text)
        wanted = {key(*run) for row in ROWS + SCALING for run in runs_of(row)}
        change_results(lambda results: {name: result for name, result in results.items() if name in wanted})
    elif options.check:
        sys.exit(not check(tables))
    elif not options.castor:
        parser.error("--castor says what trains")
    else:
        train_all(options, [row for row in ROWS + SCALING if not options.only or row.model in options.only])


if __name__ == "__main__":
    main()
