"""What is installed beside castor and made of its tables: every command and flag is in the manual pages and in the
completions of bash and zsh; bash completes them; vim colours keywords, names of the prelude and ops."""
import glob
import os
import re
import shutil
import subprocess
import tempfile

from castor import CASTOR, ROOT, castor, check, finish

COMMANDS = re.findall(r"^  ([a-z]+) +[A-Z]", castor("--help"), re.M)
FLAGS = {command: re.findall(r"^ +--([a-z0-9-]+)", castor(command, "--help"), re.M) for command in COMMANDS}


def run(*words, text=None, code=0):
    done = subprocess.run(words, input=text, capture_output=True, text=True)
    check(done.returncode == code, f"{' '.join(words)[:200]}: exit {done.returncode}\n{done.stderr[-800:]}")
    return done.stdout, done.stderr


def read(name):
    with open(os.path.join(share, name), encoding="utf-8") as file:
        return file.read()


# ---- manual pages ----


def rendered(page):
    """The page as a reader sees it; troff has nothing to say against it."""
    out, messages = run("groff", "-man", "-ww", "-Tutf8", "-P-c", "-P-b", "-P-u", "-rLL=200n", f"{share}/man/man1/{page}.1")
    check(not messages, f"{page}.1: {messages}")
    return re.sub(r"\s+", " ", out.replace("‐", "-").replace("−", "-").replace("’", "'").replace("‘", "'"))


def check_pages():
    check(len(COMMANDS) > 15 and len(FLAGS["train"]) > 40, "help shows too little")
    pages = {os.path.basename(path)[:-2] for path in glob.glob(f"{share}/man/man1/*.1")}
    check(pages == {"castor", *(f"castor-{command}" for command in COMMANDS)}, f"pages {pages}")
    if shutil.which("mandoc"):
        out, messages = run("mandoc", "-Tlint", *glob.glob(f"{share}/man/man1/*.1"))
        check(not out and not messages, f"mandoc: {out}{messages}")
    if not shutil.which("groff"):
        return
    overview = rendered("castor")
    for command in COMMANDS:
        check(re.search(rf" {command} ", overview), f"castor.1 has no {command}")
        page = rendered(f"castor-{command}")
        for flag in FLAGS[command]:
            check(re.search(rf" --{flag}[ =]", page), f"castor-{command}.1 has no --{flag}")
        help_text = castor(command, "--help")
        check(squeeze(help_text.split("\n")[0]) in page, f"castor-{command}.1 does not say what it does")
        for example in re.findall(r"^  (castor .*)", help_text, re.M):
            check(squeeze(example) in page, f"castor-{command}.1 has no example {example}")


def squeeze(text):
    return re.sub(r"\s+", " ", text)


# ---- completions ----


def completed(*words):
    """What bash offers for the last word."""
    script = 'compopt() { :; }; source "$1"; shift; COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _castor; printf "%s\\n" "${COMPREPLY[@]}"'
    out, messages = run("bash", "-c", script, "bash", f"{share}/bash-completion/completions/castor", *words)
    check(not messages, messages)
    return out.split()


def check_bash():
    run("bash", "-n", f"{share}/bash-completion/completions/castor")
    check(set(COMMANDS) <= set(completed("castor", "")), "bash: commands")
    check(completed("castor", "calib") == ["calibrate"], "bash: a command's beginning")
    for command in COMMANDS:
        check(set(completed("castor", command, "--")) == {f"--{flag}" for flag in [*FLAGS[command], "help"]}, f"bash: flags of {command}")
    check(completed("castor", "train", "m.net", "--device", "") == ["host", "cuda", "sim"], "bash: devices")
    check(completed("castor", "dump", "m.net", "--after", "sched") == ["schedule"], "bash: passes")
    check("autocast" in completed("castor", "train", "--policy", "auto"), "bash: policies")
    os.chdir(folder)
    open("mine.policy", "w").close()
    check("mine.policy" in completed("castor", "train", "--policy", "mi"), "bash: a policy's file")
    check(completed("castor", "train", "mi") == ["mine.policy"], "bash: files")


def check_zsh():
    text = read("zsh/site-functions/_castor")
    parts = dict(re.findall(r"^        ([a-z]+)\)\n(.*?);;$", text, re.M | re.S))
    check(set(parts) == set(COMMANDS) and text.startswith("#compdef castor\n"), f"zsh: commands {set(parts)}")
    for command in COMMANDS:
        found = set(re.findall(r"^ +'\*?--([a-z0-9-]+)=?\[", parts.get(command, ""), re.M))
        check(found == {*FLAGS[command], "help"}, f"zsh: flags of {command}: {found}")
    if shutil.which("zsh"):
        run("zsh", "-n", f"{share}/zsh/site-functions/_castor")


# ---- vim ----


def words_of(pattern, path):
    with open(os.path.join(ROOT, path), encoding="utf-8") as file:
        return re.findall(pattern, file.read(), re.M)


def keywords(name):
    text = read(f"vim/vimfiles/syntax/{name}.vim")
    return {word for line in re.findall("^syntax keyword .*", text, re.M) for word in line.split()[3:]} | set(
        re.findall(r"^syntax match \w+ '\\<(\w+)\\>'", text, re.M))


def check_words():
    net, policy = keywords("net"), keywords("policy")
    for path in sorted(glob.glob(f"{ROOT}/frontend/prelude/*.net")):
        names = words_of(r"^(?:module|function|optimizer|scaler) (\w+)", path)
        check(names and set(names) <= net, f"vim: {os.path.basename(path)}: {set(names) - net}")
    for words in ({"if", "repeat", "minimize", "model"}, {"param", "state", "metric"}, {"f16", "class"}, {"exp", "gather"}, {"batch", "seed"}):
        check(words <= net, f"vim: {words - net} of .net")
    rules = words_of(r'^([a-z]+) +\{ (?:SIGN|WORD)', "frontend/language/net.l")
    check(len(rules) > 20 and set(rules) <= net, f"vim: {set(rules) - net}")
    ops = {line.split()[0] for line in castor("ops").splitlines()}
    check(ops <= policy, f"vim: ops {ops - policy}")
    check(set(words_of(r'^"([a-z0-9]+)" +\{', "passes/policies/policy.l")) <= policy, "vim: words of .policy")


def group_at(name, text, word):
    """The syntax group that vim gives to a word of a file."""
    line, column = next((i + 1, row.index(word) + 1) for i, row in enumerate(text.splitlines()) if word in row)
    with open(f"{folder}/{name}", "w", encoding="utf-8") as file:
        file.write(text)
    script = [f"set runtimepath^={share}/vim/vimfiles", "filetype on", "syntax on", f"edit {folder}/{name}",
              f"call writefile([synIDattr(synID({line}, {column}, 1), 'name')], '{folder}/group')", "qall!"]
    run("vim", "-Nes", "-u", "NONE", "-i", "NONE", *(part for command in script for part in ("-c", command)))
    with open(f"{folder}/group", encoding="utf-8") as file:
        return file.read().strip()


def check_vim():
    if not shutil.which("vim") or "+syntax" not in run("vim", "--version")[0]:
        return
    net = "# a model\nmodel (x: f32[batch, 4]) {\n    y = x |> linear(3) as fc1 |> relu\n    loss = mean(y)\n}\ntrain {\n    seed 17\n    data idx(\"a\")\n}\n"
    for word, group in (("# a", "netComment"), ("model (", "netKeyword"), ("f32", "netType"), ("linear", "netLibrary"), ("mean", "netBuiltin"),
                        ("seed", "netEntry"), ("17", "netNumber"), ('"a"', "netString"), ("fc1", "")):
        check(group_at("m.net", net, word) == group, f"vim: {word} in .net is {group_at('m.net', net, word)}, not {group}")
    policy = "policy mine extends autocast(f16) {\n    half op add, max, fold where rank > 2 # ops\n    half scope exp\n    keep \"fc2\" f32\n}\n"
    for word, group in (("half", "policyKeyword"), ("add", "policyOp"), ("max", "policyOp"), ("fold", "policyOp"), ("where", "policyKeyword"), ("# ops", "policyComment"), ("exp", ""), ("scope", "policyKeyword"),
                        ('"fc2', "policyString")):
        check(group_at("m.policy", policy, word) == group, f"vim: {word} in .policy is {group_at('m.policy', policy, word)}, not {group}")


with tempfile.TemporaryDirectory() as folder:
    run("cmake", "--install", os.path.dirname(CASTOR), "--prefix", f"{folder}/prefix")
    share = f"{folder}/prefix/share"
    check_pages()
    check_bash()
    check_zsh()
    check_words()
    check(os.path.exists(f"{share}/vim/vimfiles/ftdetect/castor.vim"), "vim: no ftdetect")
    check_vim()

finish()
