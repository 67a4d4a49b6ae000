"""castor compare: its table, its JSON, and what it must show, over all policies in f16 and bf16. For every policy and
model the error of loss and gradients against the evaluator in f64 is at most twice that of the same graph evaluated op
by op with rounding at each node, and the tolerance: of f32's sums, which are taken in another order. No cast stands
alone, and the step that policy cost predicts is no longer than that of any policy that keeps to what it must keep to
(half drops the f32 parameters)."""
import json
import os
import tempfile

from castor import ROOT, castor, check, finish

NAMES = ("autocast", "almost", "half", "paint", "cost", "ranges")
POLICIES = ["f32"] + [f"{name}({half})" for name in NAMES for half in ("f16", "bf16")]
KEYS = {"policy", "nodes_half", "nodes_f32", "casts_fused", "casts_standalone", "launches", "bytes", "arena_peak",
        "predicted_ms", "measured_ms", "loss_rmse", "grad_rmse"}
MODELS = {"fashion_mlp": ("width=128",), "fashion_cnn": ("channels=8",), "fashion_resnet": ("width=8", "depth=1")}
TOLERANCE = {"loss": 2**-22, "grad": 1e-6}  # of its magnitude
# Errors don't depend on how far the compiler optimises, and most of the time would be its own.
os.environ["CC"] = os.path.join(ROOT, "tests", "fuzz", "quick-cc")
IMAGES = "synthetic(examples = 64, test = 16, image = uniform(0, 255), label = classes)"


def flags(name, values):
    return [word for value in values for word in (name, value)]


def record(model, folder, *options):
    """Ranges of two steps, for policy ranges."""
    path = os.path.join(folder, "ranges.json")
    castor("train", model, "--policy", "f32", "--steps", "2", "--batch", "8", "--data", IMAGES, "--record-ranges", path, "--quiet",
           "--out", os.path.join(folder, "run"), *options)
    return path


def check_prices(model):
    """At full size, on this CPU and on a GPU of architecture sm_80, which need not be here."""
    for device in (("--device", "host"), ("--device", "cuda", "--arch", "sm_80")):
        predicted = {}
        for policy in POLICIES:
            if policy.startswith("ranges"):
                continue
            row = json.loads(castor("ledger", model, "--policy", policy, "--json", *device))
            check(row["casts_standalone"] == 0, f"{model} under {policy} on {device[1]}: alone: {row['standalone']}")
            predicted[policy] = row["predicted_ms"]
        for policy, ms in predicted.items():
            cost = predicted["cost(bf16)" if "bf16" in policy else "cost(f16)"]
            check(cost <= ms or "half" in policy, f"{model} on {device[1]}: cost takes {cost} ms, {policy} {ms}")


def check_errors(model, options, folder):
    words = flags("--set", options)
    ranges = record(model, folder, *words)
    rows = json.loads(castor("compare", model, "--batch", "2", "--json", "--ranges", ranges, *words,
                             *flags("--policy", POLICIES)))
    check([row["policy"] for row in rows] == POLICIES, f"{model}: the policies are {[row['policy'] for row in rows]}")
    for row in rows:
        where = f"{model} under {row['policy']}"
        check(KEYS <= row.keys(), f"{where}: no {KEYS - row.keys()}")
        check(row["measured_ms"] > 0 and row["predicted_ms"] > 0, f"{where}: no time")
        check(row["casts_standalone"] == 0, f"{where}: casts that stand alone: {row['standalone']}")
        for what, tolerance in TOLERANCE.items():
            got, allowed = row[f"{what}_rmse"], row[f"{what}_rmse_op_by_op"]
            print(f"{where}: {what} {got / row[f'{what}_rms']:.2e}, op by op {allowed / row[f'{what}_rms']:.2e}")
            check(got <= 2 * allowed + tolerance * row[f"{what}_rms"], f"{where}: {what} is {got} off, op by op {allowed}")
    by_name = {row["policy"]: row for row in rows}
    check(by_name["f32"]["nodes_half"] == 0, f"{model}: f32 has half nodes")
    check(0 < by_name["autocast(f16)"]["nodes_half"] <= by_name["half(f16)"]["nodes_half"], f"{model}: half nodes")
    check(by_name["f32"]["grad_rmse"] < by_name["autocast(f16)"]["grad_rmse"] < by_name["autocast(bf16)"]["grad_rmse"],
          f"{model}: the errors of f32, f16 and bf16 do not grow")


def check_training():
    rows = json.loads(castor("compare", "models/fashion_mlp.net", "--policy", "f32", "--policy", "autocast", "--epochs", "1",
                             "--batch", "16", "--set", "width=32", "--data", IMAGES, "--json"))
    for row in rows:
        check(row["steps"] == 4 and row["skipped"] in (0, 1, 2) and 0 <= row["accuracy"] <= 1, f"trained: {row}")
        check((row["scale"] is None) == (row["policy"] == "f32") and (row["scale"] or 65536) <= 65536, f"the scale: {row['scale']}")
    text = castor("compare", "models/fashion_mlp.net", "--policy", "f32", "--policy", "cost", "--batch", "16", "--set", "width=32")
    check(text.startswith("policy ") and "\nf32 " in text and "\ncost(f16) " in text, f"the table: {text}")


for name, options in MODELS.items():
    with tempfile.TemporaryDirectory() as folder:
        check_prices(f"models/{name}.net")
        check_errors(f"models/{name}.net", options, folder)
check_training()
finish()
