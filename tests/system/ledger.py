"""The cost of a training step, pinned from both sides, on the host."""
import json

from castor import castor, check, finish

# Launches at most, and at least (a lower count is good news: pin it again).
LAUNCHES = {"fashion_mlp": (10, 8), "fashion_cnn": (23, 18), "fashion_resnet": (79, 66)}
# Bytes over the lower bound, at most and at least: as measured. The goal is 1.25. What the kernels of a strip pass on is
# fetched once; every other read of a loop nest counts, whether the cache serves it or not.
BYTES = {"fashion_mlp": (1.06, 1.0), "fashion_cnn": (1.23, 1.15), "fashion_resnet": (1.10, 1.03)}

for model in ("fashion_mlp", "fashion_cnn", "fashion_resnet"):
    for policy in ("f32", "autocast(f16)", "autocast(bf16)"):
        row = json.loads(castor("ledger", f"models/{model}.net", "--policy", policy, "--json"))
        where = f"{model} under {policy}"
        most, least = LAUNCHES[model]
        check(least <= row["launches"] <= most, f"{where}: {row['launches']} launches, not {least} to {most}")
        check(row["launches"] == row["kernels"] + row["library_calls"], f"{where}: launches are not kernels and library calls")
        if policy == "autocast(bf16)":
            check(row["casts_standalone"] == 0, f"{where}: {row['casts_standalone']} standalone casts")
        ratio = row["bytes"] / row["bytes_lower_bound"]
        most, least = BYTES[model]
        check(least <= ratio <= most, f"{where}: bytes are {ratio:.3f} x the lower bound")
        check(row["bytes_unfused"] > row["bytes"], f"{where}: fusion saves no bytes")
        ratio = row["arena_peak"] / row["arena_lower_bound"]
        check(1.0 <= ratio <= 1.05, f"{where}: the arena is {ratio:.3f} x the liveness bound")
finish()
