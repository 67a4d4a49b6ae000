"""castor compare: its table, its JSON, and what it must show. For every policy and model the error of loss and gradients
against the evaluator in f64 is at most twice that of the same graph evaluated op by op with rounding at each node; the
step that policy cost predicts is no longer than that of the policies which it prices."""
import json

from castor import castor, check, finish

POLICIES = [f"{name}(f16)" for name in ("autocast", "almost", "half", "paint", "cost")] + ["autocast(bf16)", "paint(bf16)"]
PRICED = ("f32", "autocast", "almost", "paint")
KEYS = {"policy", "nodes_half", "nodes_f32", "casts_fused", "casts_standalone", "launches", "bytes", "arena_peak",
        "predicted_ms", "measured_ms", "loss_rmse", "grad_rmse"}

MODELS = {"fashion_mlp": ("width=128",), "fashion_cnn": ("channels=8",), "fashion_resnet": ("width=8", "depth=1")}
# A loss is one number, not a root mean square of many: a tenth of a rounding of the half type is allowed it, too, and
# the order in which f32 sums are taken.
ALLOWANCE = {"f32": 2**-22, "f16": 2**-11 / 10, "bf16": 2**-8 / 10}

for model, options in MODELS.items():
    words = [word for option in options for word in ("--set", option)]
    words += [word for name in ["f32", *POLICIES] for word in ("--policy", name)]
    rows = json.loads(castor("compare", f"models/{model}.net", "--batch", "8", "--json", *words))
    check([row["policy"] for row in rows] == ["f32", *POLICIES], f"{model}: the policies are {[row['policy'] for row in rows]}")
    by_name = {row["policy"]: row for row in rows}
    for row in rows:
        where = f"{model} under {row['policy']}"
        check(KEYS <= row.keys(), f"{where}: no {KEYS - row.keys()}")
        allowance = ALLOWANCE[row["policy"].rstrip(")").rpartition("(")[2]]
        check(row["measured_ms"] > 0 and row["predicted_ms"] > 0, f"{where}: no time")
        for what, tolerance in (("loss", row["loss_rms"] * allowance), ("grad", 1e-6 * row["grad_rms"])):
            got, allowed = row[f"{what}_rmse"], row[f"{what}_rmse_op_by_op"]
            check(got is not None and allowed is not None and got <= 2 * allowed + tolerance,
                  f"{where}: {what} is {got} off, op by op {allowed}")
    for name in PRICED:
        cost, other = by_name["cost(f16)"], by_name["f32" if name == "f32" else f"{name}(f16)"]
        check(cost["predicted_ms"] <= other["predicted_ms"] + 1e-9,
              f"{model}: cost predicts {cost['predicted_ms']} ms, {name} {other['predicted_ms']}")
    check(by_name["f32"]["nodes_half"] == 0, f"{model}: f32 has half nodes")
    check(0 < by_name["autocast(f16)"]["nodes_half"] <= by_name["half(f16)"]["nodes_half"], f"{model}: half nodes")
    check(by_name["f32"]["grad_rmse"] < by_name["autocast(f16)"]["grad_rmse"] < by_name["autocast(bf16)"]["grad_rmse"],
          f"{model}: the errors of f32, f16 and bf16 do not grow")

images = "synthetic(examples = 64, test = 16, image = uniform(0, 255), label = classes)"
rows = json.loads(castor("compare", "models/fashion_mlp.net", "--policy", "f32", "--policy", "autocast", "--epochs", "1",
                         "--batch", "16", "--set", "width=32", "--data", images, "--json"))
for row in rows:
    check(row["steps"] == 4 and row["skipped"] in (0, 1, 2) and 0 <= row["accuracy"] <= 1, f"trained: {row}")
    check((row["scale"] is None) == (row["policy"] == "f32") and (row["scale"] or 65536) <= 65536, f"the scale: {row['scale']}")
text = castor("compare", "models/fashion_mlp.net", "--policy", "f32", "--policy", "cost", "--batch", "16", "--set", "width=32")
check(text.startswith("policy ") and "\nf32 " in text and "\ncost(f16) " in text, f"the table: {text}")
finish()
