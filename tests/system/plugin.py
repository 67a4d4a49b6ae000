"""The README's policy and plugin, as they stand there, against an installed Castor; and plugins that cannot be used."""
import os
import re
import subprocess
import tempfile

from castor import CASTOR, ROOT, check, finish

README = open(os.path.join(ROOT, "README.md"), encoding="utf-8").read()
BUILD = os.path.dirname(CASTOR)
MODEL = os.path.join(ROOT, "models", "fashion_mlp.net")
IMAGES = "synthetic(examples = 64, test = 16, image = uniform(0, 255), label = classes)"


def block(kind):
    """The README's one fenced block of a kind."""
    found = re.findall(rf"^```{kind}\n(.*?)^```$", README, re.M | re.S)
    check(len(found) == 1, f"README: {len(found)} blocks of {kind}")
    return found[0]


def run(*words, code=0):
    done = subprocess.run(words, cwd=folder, capture_output=True, text=True)
    check(done.returncode == code, f"{' '.join(words)}: exit {done.returncode}, not {code}\n{done.stderr[-1500:]}")
    return done.stdout + done.stderr


def write(name, text):
    with open(os.path.join(folder, name), "w", encoding="utf-8") as file:
        file.write(text)


def compile_plugin(name, text):
    write(f"{name}.c", text)
    environment = dict(os.environ, PKG_CONFIG_PATH=f"{folder}/prefix/share/pkgconfig")
    flags = subprocess.run(["pkg-config", "--cflags", "castor"], env=environment, capture_output=True, text=True).stdout.split()
    run("cc", "-Wall", "-Wextra", "-Wpedantic", "-Werror", "-shared", "-fPIC", *flags, f"{name}.c", "-o", f"{name}.so")
    return f"./{name}.so"


with tempfile.TemporaryDirectory() as folder:
    run("cmake", "--install", BUILD, "--prefix", f"{folder}/prefix")
    installed = f"{folder}/prefix/bin/castor"
    small = ("--set", "width=16", "--batch", "8", "--data", IMAGES, "--steps", "2", "--cache", f"{folder}/cache")

    policy = block("policy")
    check(len(policy.strip().splitlines()) <= 10, "README: the policy is longer than 10 lines")
    write("mine.policy", policy)
    run(installed, "train", MODEL, "--policy", "mine.policy", *small)
    text = run(installed, "explain", MODEL, "fc2.y", "--policy", "mine.policy")
    check("keep fc2 f32" in text, f"explain: {text}")

    source = block("c")
    check(len(source.strip().splitlines()) <= 40, "README: the plugin is longer than about 30 lines")
    wide = compile_plugin("wide", source)
    run(installed, "train", MODEL, "--plugin", wide, "--policy", "wide(f16)", *small)
    text = run(installed, "explain", MODEL, "fc1.y", "--plugin", wide, "--policy", "wide(bf16)")
    check("wide: over 16 operations a byte" in text and "bf16" in text, f"explain: {text}")
    text = run(installed, "dump", MODEL, "--plugin", wide, "--policy", "wide", "--emit", "ir", "--after", "precision")
    check("f16[" in text and "wide: neither a product nor before one" in text, "dump: no half, or no reasons")

    # Plugins that cannot be used.
    lazy = source.replace('api->decide(graph, node, CASTOR_F32, "neither a product nor before one")', "continue")
    text = run(installed, "ledger", MODEL, "--plugin", compile_plugin("lazy", lazy), "--policy", "wide", code=1)
    check("error[E0612]: policy wide leaves " in text and "of graph train undecided, the first is" in text, text)
    extending = lazy.replace("dense\", 0,", "dense\", \"autocast\",")
    run(installed, "ledger", MODEL, "--plugin", compile_plugin("extending", extending), "--policy", "wide")
    old = source.replace("<castor_plugin.h>", "<castor_plugin.h>\n#undef CASTOR_PLUGIN_ABI\n#define CASTOR_PLUGIN_ABI 999")
    text = run(installed, "ledger", MODEL, "--plugin", compile_plugin("old", old), "--policy", "wide", code=1)
    check("error[E0611]" in text and "built for version 999 of the interface" in text, text)
    text = run(installed, "ledger", MODEL, "--plugin", compile_plugin("empty", "int nothing;\n"), "--policy", "f32", code=1)
    check("it has no symbol castor_plugin_abi" in text, text)
    text = run(installed, "ledger", MODEL, "--plugin", "./missing.so", "--policy", "f32", code=1)
    check("error[E0611]" in text and "missing.so" in text, text)
    text = run(installed, "ledger", MODEL, "--plugin", wide, "--policy", "wider", code=1)
    check("there is no policy `wider`" in text, text)

finish()
