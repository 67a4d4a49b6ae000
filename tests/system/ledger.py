"""The cost of a training step, pinned from both sides: ledger.py CASTOR host|sim."""
import json
import os
import sys

from castor import ROOT, castor, check, finish, need_sim

sys.path.insert(0, os.path.join(ROOT, "models"))
import trained

# Of each device: launches at most, and at least (a lower count is good news: pin it again), and bytes over the lower
# bound likewise, as measured; the goals are 1.25 on the host and 1.10 on a GPU. On the host, what the kernels of a
# strip pass on is fetched once; every other read of a loop nest counts, whether the cache serves it or not. (0.99 are
# CPUs with bf16: a product that is rounded before it is stored has half the bytes of what the bound counts.)
HOST = {"fashion_mlp": (10, 8, 1.06, 0.985), "fashion_cnn": (23, 18, 1.20, 1.12), "fashion_resnet": (79, 66, 1.10, 1.03)}
SIM = {"fashion_mlp": (10, 8, 1.04, 1.0), "fashion_cnn": (20, 18, 1.10, 1.04), "fashion_resnet": (77, 70, 1.29, 1.22)}


# The networks of models/ at full size, for an A100: parameters as published, and the limits as above.
NETWORKS = {
    "resnet18": (11689512, (105, 98, 1.54, 1.44)),
    "resnet50": (25557032, (276, 262, 1.45, 1.36)),
    "resnet18_cifar": (11173962, (103, 95, 1.34, 1.25)),
    "resnet9": (6573120, (52, 47, 1.46, 1.37)),
    "vgg16": (138357544, (69, 62, 0.80, 0.74)),
    "alexnet": (61100840, (40, 35, 0.99, 0.93)),
    "mobilenet_v2": (3504872, (278, 262, 1.39, 1.30)),
    "googlenet": (13004888, (336, 310, 1.56, 1.45)),
    "inception_v2": (11285224, (365, 345, 1.58, 1.48)),
    "inception_v3": (27161264, (505, 480, 1.58, 1.49)),
    "vit_s16": (22050664, (269, 260, 1.70, 1.60)),
    "gpt": (124439808, (240, 232, 1.45, 1.36)),
    "ssd": (26285486, (147, 136, 0.85, 0.79)),
    "dcgan": (6342272, (95, 88, 1.33, 1.25)),
    "char_lstm": (4464896, (428, 405, 1.28, 1.20)),
    "big_lstm": (1776948095, (325, 305, 2.30, 2.18)),
}


# With --memory-budget 60%: arithmetic that is done again, in per cent, at most and at least, as measured.
RECOMPUTED = {"gpt": (12.0, 9.0), "resnet50": (6.8, 5.0), "vgg16": (7.0, 5.5), "vit_s16": (16.5, 12.5)}


def ledger(model, policy, *device):
    return json.loads(castor("ledger", f"models/{model}.net", "--policy", policy, "--json", *device))


def pin(where, row, limits):
    most_launches, least_launches, most_bytes, least_bytes = limits
    check(least_launches <= row["launches"] <= most_launches,
          f"{where}: {row['launches']} launches, not {least_launches} to {most_launches}")
    check(row["launches"] == row["kernels"] + row["library_calls"], f"{where}: launches are not kernels and library calls")
    ratio = row["bytes"] / row["bytes_lower_bound"]
    check(least_bytes <= ratio <= most_bytes, f"{where}: bytes are {ratio:.3f} x the lower bound")
    check(row["bytes_unfused"] > row["bytes"], f"{where}: fusion saves no bytes")
    share = row["workspace_bytes"] / row["bytes"]
    check(0 < share <= 0.13, f"{where}: workspaces are {share:.3f} of the bytes")
    ratio = row["arena_peak"] / row["arena_lower_bound"]
    check(1.0 <= ratio <= 1.05, f"{where}: the arena is {ratio:.3f} x the liveness bound")


def check_host():
    for model, limits in HOST.items():
        for policy in ("f32", "autocast(f16)", "autocast(bf16)"):
            row, where = ledger(model, policy), f"{model} under {policy} on the host"
            pin(where, row, limits)
            if policy == "autocast(bf16)":
                check(row["casts_standalone"] == 0, f"{where}: {row['casts_standalone']} standalone casts")
    # What models/trained.py trains at reduced size is every one of them.
    rows = {row.model: trained.row_words(row) for row in trained.ROWS if not row.model.startswith("fashion_")}
    check(sorted(rows) == sorted(NETWORKS), f"models/trained.py has rows for {sorted(rows)}, pinned are {sorted(NETWORKS)}")
    for model, flags in rows.items():
        castor("ledger", f"models/{model}.net", *flags)


def check_sim():
    for model, limits in SIM.items():
        for policy in ("autocast(f16)", "autocast(bf16)"):
            row, where = ledger(model, policy, "--device", "sim", "--arch", "sm_80"), f"{model} under {policy} on sim"
            pin(where, row, limits)
            check(row["casts_standalone"] == 0, f"{where}: {row['casts_standalone']} standalone casts")
            check(row["copies"] == 0, f"{where}: {row['copies']} copies")
    # The gradient of the second weight: 29 parts of 9 tiles of 64 by 32 sums in f32. The rest are a column's.
    splits = 29 * 9 * 64 * 32 * 4
    row = ledger("fashion_cnn", "autocast(f16)", "--device", "sim", "--arch", "sm_80")
    check(splits < row["workspace_bytes"] < 1.5 * splits, f"fashion_cnn: {row['workspace_bytes']} bytes of workspaces")
    for model, (parameters, limits) in NETWORKS.items():
        row = ledger(model, "autocast(f16)", "--device", "sim", "--arch", "sm_80")
        pin(f"{model} at full size on sim", row, limits)
        check(row["parameters"] == parameters, f"{model} has {row['parameters']} parameters, not {parameters}")
        check(row["casts_standalone"] == 0, f"{model}: {row['casts_standalone']} standalone casts")
        check(row["copies"] == 0, f"{model}: {row['copies']} copies")
        if model not in RECOMPUTED:
            continue
        small = ledger(model, "autocast(f16)", "--device", "sim", "--arch", "sm_80", "--memory-budget", "60%")
        most, least = RECOMPUTED[model]
        added = 100 * small["flops"] / row["flops"] - 100
        check(small["arena_peak"] <= 0.6 * row["arena_peak"], f"{model}: {small['arena_peak']} bytes of {row['arena_peak']}")
        check(small["arena_budget"] <= 0.6 * row["arena_peak"], f"{model}: a budget of {small['arena_budget']} bytes")
        check(least <= added <= most, f"{model} in 60 % of its memory: {added:.2f} % more arithmetic")
        told = 100 * small["flops_recomputed"] / row["flops"]
        check(abs(added - told) < 0.01, f"{model}: {added:.3f} % more arithmetic, {told:.3f} % told")
    row = ledger("fashion_mlp", "autocast(f16)", "--device", "sim", "--arch", "sm_80", "--registers")
    check(16 <= row["registers"] <= 128, f"a thread takes {row['registers']} registers at most")
    check(row["spilling_kernels"] == row["spill_bytes"] == 0, f"{row['spilling_kernels']} kernels spill registers")


if sys.argv[2] == "sim":
    need_sim()
    check_sim()
else:
    check_host()
finish()
