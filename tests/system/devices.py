"""The simulated GPU computes what the host computes: devices.py CASTOR.

One training step of the MLP on one random batch, on both devices. Generated kernels have the same bits there, and so has
the simulated library's matrix product for this network, since both go to the host's library. Losses, metrics and all
gradients must have the same bytes; and so must they with --unfused on the simulated GPU. With --tf32 its products are
near, and not the same.
"""
import os
import random
import sys
import tempfile

from castor import ROOT, castor, check, finish, need_sim

sys.path.insert(0, os.path.join(ROOT, "tests", "pytorch"))
import safetensors  # noqa: E402

BATCH = 24


def step(policy, folder, *flags):
    fetched = os.path.join(folder, "out.safetensors")
    castor("run", "models/fashion_mlp.net", "--graph", "train", "--policy", policy, "--feed",
           os.path.join(folder, "in.safetensors"), "--scale", "dynamic(init = 1024)", "--fetch", fetched, "--cache",
           os.path.join(folder, "cache"), *flags)
    return safetensors.read(fetched)


def equal(what, got, wanted):
    check(set(got) == set(wanted) and len(got) > 4, f"{what}: {sorted(got)} and {sorted(wanted)}")
    for name in sorted(got):
        check(got[name][2].tobytes() == wanted[name][2].tobytes(), f"{what}: {name} differs")


def near(what, got, wanted):
    """Eleven significant bits of the operands are left."""
    loss, other = got["loss"][2][0], wanted["loss"][2][0]
    check(abs(loss - other) <= 1e-3 * abs(other), f"{what}: the loss is {loss}, not near {other}")
    different = [name for name in wanted if got[name][2].tobytes() != wanted[name][2].tobytes()]
    check("loss" in different and len(different) > 4, f"{what}: only {different} differ")


need_sim()
random.seed(21)
feed = {"image": ("U8", [BATCH, 28, 28], [random.randrange(256) for _ in range(BATCH * 28 * 28)]),
        "label": ("I32", [BATCH], [random.randrange(10) for _ in range(BATCH)])}
with tempfile.TemporaryDirectory() as folder:
    safetensors.write(os.path.join(folder, "in.safetensors"), feed)
    for policy in ("f32", "autocast(f16)", "half(f16)"):
        host = step(policy, folder, "--device", "host")
        sim = step(policy, folder, "--device", "sim")
        equal(f"{policy}, host and sim", sim, host)
        equal(f"{policy}, fused and unfused", step(policy, folder, "--device", "sim", "--unfused"), sim)
        if policy == "f32":
            near("--tf32", step(policy, folder, "--device", "sim", "--tf32"), sim)
finish()
