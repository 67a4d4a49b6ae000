"""`cmake --install` into an empty prefix, which is moved afterwards: castor works from there, in an empty folder and with no
home; trainers are built with the archive beside it; pkg-config finds the header. (plugin.py builds a plugin against it.)"""
import os
import subprocess
import tempfile

from castor import CASTOR, check, finish

FILES = ["bin/castor", "include/castor_plugin.h", "lib/castor/libcastor_trainer.a", "share/pkgconfig/castor.pc", "share/man/man1/castor.1",
         "share/man/man1/castor-train.1", "share/bash-completion/completions/castor", "share/zsh/site-functions/_castor",
         "share/vim/vimfiles/syntax/net.vim", "share/vim/vimfiles/ftdetect/castor.vim"]
NET = """model (x: f32[batch, 4], label: class(3)[batch]) {
    logits = x |> linear(3) as fc
    loss   = cross_entropy(logits, label)
}

train {
    data      synthetic(examples = 64, test = 16, x = normal, label = classes)
    batch     16
    epochs    1
    minimize  loss with sgd(lr = 0.1)
    precision autocast(f16)
}
"""


def run(*words, where, environment=None):
    done = subprocess.run(words, cwd=where, capture_output=True, text=True, env=environment)
    check(done.returncode == 0, f"{' '.join(words)}: exit {done.returncode}\n{done.stderr[-1500:]}")
    return done.stdout


with tempfile.TemporaryDirectory() as folder:
    first, prefix, empty = f"{folder}/first", f"{folder}/a prefix", f"{folder}/empty"
    os.mkdir(empty)
    run("cmake", "--install", os.path.dirname(CASTOR), "--prefix", first, where=folder)
    listed = sorted(os.path.relpath(os.path.join(place, name), first) for place, _, names in os.walk(first) for name in names)
    check(set(FILES) <= set(listed), f"not installed: {set(FILES) - set(listed)}")
    known = ("bin/castor", "include/", "lib/castor/", "share/pkgconfig/", "share/man/man1/castor", "share/bash-completion/", "share/zsh/",
             "share/vim/")
    check(all(name.startswith(known) for name in listed), f"installed: {[name for name in listed if not name.startswith(known)]}")
    flags = run("pkg-config", "--cflags", "castor", where=empty, environment=dict(os.environ, PKG_CONFIG_PATH=f"{first}/share/pkgconfig"))
    check(os.path.realpath(flags.strip()[2:]) == f"{first}/include", f"pkg-config: {flags}")

    os.rename(first, prefix)
    castor = f"{prefix}/bin/castor"
    bare = {"PATH": "/usr/bin:/bin"}
    with open(f"{empty}/m.net", "w", encoding="utf-8") as file:
        file.write(NET)
    run(castor, "train", "m.net", "--quiet", "--cache", "off", where=empty, environment=bare)
    check(sorted(os.listdir(f"{empty}/runs/m.1")) == ["best.safetensors", "last.safetensors", "log.jsonl", "model.net", "run.json"],
          f"run folder: {os.listdir(f'{empty}/runs/m.1')}")
    run(castor, "build", "m.net", "-o", "trainer", where=empty, environment=bare)
    run("./trainer", "--quiet", where=empty, environment=bare)
    version = run(castor, "--version", where=empty, environment=bare)
    bare["PKG_CONFIG_PATH"] = f"{prefix}/share/pkgconfig"
    check(version == f"castor {run('pkg-config', '--modversion', 'castor', where=empty, environment=bare)}", version)

finish()
