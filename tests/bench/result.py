"""result.py RUN METRIC FLOOR: one line from a run's log, and exit 1 where the metric is below the floor."""
import json
import os
import sys

run, metric, floor = sys.argv[1], sys.argv[2], float(sys.argv[3])
with open(os.path.join(run, "log.jsonl")) as file:
    rows = [json.loads(line) for line in file]
best = max((row["eval"][metric], row["epoch"]) for row in rows if "eval" in row)
scale = [row["scale"] for row in rows if "scale" in row][-1]
good = best[0] >= floor
print(f"{'ok' if good else 'FAILED'}: test {metric} {best[0]:.4f} after epoch {best[1]} (at least {floor}), loss scale {scale:g}")
sys.exit(not good)
