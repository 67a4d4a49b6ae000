"""Detection against plain Python: detection.py CASTOR.

Boxes that non-maximum suppression keeps, and which of them are right; and mean average precision over a data set, whose
last batch is a part of one, beside other metrics of totals. The data that models/trained.py has for ssd.net come with their
boxes as they are. On the host and, where there is one, on the simulated GPU,
which must have the same bits. The boxes are drawn so that no overlap is near the threshold.
"""
import json
import os
import random
import subprocess
import sys
import tempfile

from castor import CASTOR, ROOT, castor, check, finish

sys.path[:0] = [os.path.join(ROOT, "tests", "pytorch"), os.path.join(ROOT, "models")]
import safetensors
import trained

NET = """
model (box: f32[batch, 3, n, 4], score: f32[batch, 3, n], object: f32[batch, 3, 4, 4], real: bool[batch, 3, 4]) {
    output kept  = nms(box, score, threshold = 0.45)
    output right = detected(box, score, kept, object, real)
}
"""

METRICS = """
model (box: f32[batch, 3, 8, 4], score: f32[batch, 3, 8], object: f32[batch, 3, 4, 4], real: bool[batch, 3, 4],
       id: f32[batch]) {
    param weight: [1] ~ ones
    score       = score * weight
    loss        = mean(score)
    kept        = nms(box, score, threshold = 0.45)
    metric ids  = total(sum(id))
    metric map  = mean_average_precision(box, score, kept, object, real)
    metric f1   = 2 * total(sum(real and score[.., :4] > 0.5)) / (total(sum(real)) + total(sum(score[.., :4] > 0.5)))
    metric kept = ratio(sum(kept), sum(real))
}
train {
    data      safetensors("DATA", test = 0.92)
    batch     4
    steps     1
    minimize  loss with sgd(lr = 0)
    precision half(f16)
}
"""

SCENES = """
import "MODEL"
model (image: f32[batch, 1, 128, 128], box: f32[batch, 4, 4], label: class(11)[batch, 4]) {
    param weight: [1] ~ ones
    loss           = mean(image) * sum(weight)
    metric shade   = mean(image)
    metric largest = max(box)
    metric ordered = mean(box[.., 2:] - box[.., :2] > 0 or unsqueeze(label == 0, -1))
}
train {
    data      npz("scenes.npz")
    batch     4
    steps     1
    minimize  loss with sgd(lr = 0)
}
"""


def iou(a, b):
    width = min(a[2], b[2]) - max(a[0], b[0])
    height = min(a[3], b[3]) - max(a[1], b[1])
    both = max(width, 0) * max(height, 0)
    return both / ((a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - both)


def nms(boxes, scores, threshold):
    """Greedily, from the highest score down; of equal scores the first in order comes first."""
    kept = []
    for i in sorted(range(len(boxes)), key=lambda i: (-scores[i], i)):
        if all(iou(boxes[i], boxes[k]) <= threshold for k in kept):
            kept.append(i)
    return kept


def right(boxes, scores, kept, objects, threshold):
    """Those that find an object which none of a higher score has found: the one that they overlap most."""
    found, taken = [], set()
    for i in sorted(kept, key=lambda i: (-scores[i], i)):
        overlaps = [iou(boxes[i], item) for item in objects]
        best = overlaps.index(max(overlaps)) if overlaps else None
        if best is not None and overlaps[best] >= threshold and best not in taken:
            taken.add(best)
            found.append(i)
    return found


def draw_box(source, objects=()):
    """A box on a grid; of two, some near an object, so that they overlap it and each other."""
    if objects and source.random() < 0.5:
        near = source.choice(objects)
        return [value + source.randrange(-2, 3) / 64 for value in near]
    left, top = source.randrange(48) / 64, source.randrange(48) / 64
    return [left, top, left + source.randrange(8, 24) / 64, top + source.randrange(8, 24) / 64]


def flat(nested):
    return [value for item in nested for value in (flat(item) if isinstance(item, list) else [item])]


def drawn(source, batch, n):
    """Rows of (boxes, scores, objects, real): scores are multiples of 1/32, so that some are equal."""
    rows = []
    for _ in range(batch * 3):
        objects = [draw_box(source) for _ in range(4)]
        real = [source.random() < 0.7 for _ in objects]
        rows.append(([draw_box(source, objects) for _ in range(n)], [source.randrange(32) / 32 for _ in range(n)], objects, real))
    return rows


def near_threshold(rows):
    return any(abs(iou(a, b) - bound) < 1e-6
               for boxes, _, objects, _ in rows for a in boxes for b, bound in [(b, 0.45) for b in boxes] + [(o, 0.5) for o in objects])


def devices():
    listed = json.loads(subprocess.run([CASTOR, "devices", "--json"], check=True, capture_output=True).stdout)
    return ["host"] + ["sim" for row in listed if row["name"] == "sim" and row["available"]]


def run(folder, device, net, tensors):
    feed, fetch = os.path.join(folder, "feed.safetensors"), os.path.join(folder, "fetch.safetensors")
    safetensors.write(feed, tensors)
    castor("run", net, "--device", device, "--feed", feed, "--fetch", fetch)
    return safetensors.read(fetch)


def check_nms(folder, n, batch):
    source = random.Random(n)
    rows = drawn(source, batch, n)
    while near_threshold(rows):
        rows = drawn(source, batch, n)
    net = os.path.join(folder, f"nms{n}.net")
    with open(net, "w") as file:
        file.write(NET.replace("n, 4]", f"{n}, 4]").replace("3, n]", f"3, {n}]"))
    boxes, scores, objects, real = (flat([row[i] for row in rows]) for i in range(4))
    tensors = {"box": ("F32", [batch, 3, n, 4], boxes), "score": ("F32", [batch, 3, n], scores),
               "object": ("F32", [batch, 3, 4, 4], objects), "real": ("BOOL", [batch, 3, 4], [int(x) for x in real])}
    kept = [nms(row[0], row[1], 0.45) for row in rows]
    hits = [right(row[0], row[1], k, [o for o, r in zip(row[2], row[3]) if r], 0.5) for row, k in zip(rows, kept)]
    for device in devices():
        got = run(folder, device, net, tensors)
        for name, wanted in (("kept", kept), ("right", hits)):
            mask = [int(i in chosen) for chosen in wanted for i in range(n)]
            check(list(got[name][2]) == mask, f"{name} of {n} boxes on {device}: {list(got[name][2])}, not {mask}")


def average_precision(detections, objects):
    """Of (score, right) pairs: equal scores count together, and precision is the best at that recall or a higher one."""
    points = []
    for score in sorted({score for score, _ in detections}, reverse=True):
        taken = [hit for other, hit in detections if other >= score]
        points.append((sum(taken) / objects, sum(taken) / len(taken)))
    area, before = 0, 0
    for i, (recall, _) in enumerate(points):
        area += (recall - before) * max(precision for _, precision in points[i:])
        before = recall
    return area


def expected(rows):
    """rows[3 * example + class]; the last class has no objects, and is left out."""
    averages, kept_count, both, real_count, high = [], 0, 0, 0, 0
    for kind in range(3):
        detections, objects = [], 0
        for boxes, scores, items, real in rows[kind::3]:
            kept = nms(boxes, scores, 0.45)
            hits = right(boxes, scores, kept, [item for item, there in zip(items, real) if there], 0.5)
            detections += [(scores[i], i in hits) for i in kept]
            objects += sum(real)
            kept_count += len(kept)
            both += sum(there and score > 0.5 for there, score in zip(real, scores))
            high += sum(score > 0.5 for score in scores[:4])
        real_count += objects
        if objects:
            averages.append(average_precision(detections, objects))
    return {"map": sum(averages) / len(averages), "f1": 2 * both / (real_count + high), "kept": kept_count / real_count}


def check_metrics(folder):
    source = random.Random(1)
    rows = drawn(source, 12, 8)
    while near_threshold(rows):
        rows = drawn(source, 12, 8)
    rows = [(*row[:3], [False] * 4 if i % 3 == 2 else row[3]) for i, row in enumerate(rows)]
    boxes, scores, objects, real = (flat([row[i] for row in rows]) for i in range(4))
    data, net = os.path.join(folder, "data.safetensors"), os.path.join(folder, "metrics.net")
    weights = os.path.join(folder, "weights.safetensors")
    safetensors.write(data, {"box": ("F32", [12, 3, 8, 4], boxes), "score": ("F32", [12, 3, 8], scores),
                             "id": ("F32", [12], [2**i for i in range(12)]), "object": ("F32", [12, 3, 4, 4], objects),
                             "real": ("BOOL", [12, 3, 4], [int(x) for x in real])})
    safetensors.write(weights, {"weight": ("F32", [1], [1])})
    with open(net, "w") as file:
        file.write(METRICS.replace("DATA", data))
    for device in devices():
        got = json.loads(castor("eval", net, "--device", device, "--weights", weights, "--json"))["eval"]
        ids = int(got["ids"])
        check(ids.bit_count() == 11, f"examples {ids:b} evaluated, of which eleven are for testing")
        wanted = expected([row for i, row in enumerate(rows) if ids >> i // 3 & 1])
        check([name for name in got if name in wanted] == ["map", "f1", "kept"], f"metrics in their order: {list(got)}")
        for name, value in wanted.items():
            check(abs(got[name] - value) < 1e-6, f"{name} on {device}: {got[name]}, not {value}")


def check_scenes(folder):
    """The data line of the table's row, read by a network that looks at the fields alone."""
    scenes, net, weights = (os.path.join(folder, name) for name in ("scenes.npz", "scenes.net", "ones.safetensors"))
    made = subprocess.run([sys.executable, os.path.join(ROOT, "models", "scenes.py"), scenes, "20"], capture_output=True, text=True)
    if made.returncode:
        print("no Fashion-MNIST here, so no scenes of it")
        return
    words = trained.row_words(next(row for row in trained.ROWS if row.model == "ssd"))
    line = words[words.index("--data") + 1].replace("scenes.npz", scenes)
    with open(net, "w") as file:
        file.write(SCENES.replace("MODEL", os.path.join(ROOT, "models", "ssd.net")))
    safetensors.write(weights, {"weight": ("F32", [1], [1])})
    got = json.loads(castor("eval", net, "--device", "host", "--data", line, "--weights", weights, "--json"))["eval"]
    check(0 < got["largest"] <= 1 and got["ordered"] == 1, f"boxes of the scenes: {got}")
    check(abs(got["shade"]) < 0.5, f"images of the scenes: {got}")


def main():
    with tempfile.TemporaryDirectory() as folder:
        for n, batch in ((1, 2), (2, 4), (7, 5), (40, 3)):
            check_nms(folder, n, batch)
        check_metrics(folder)
        check_scenes(folder)
    finish()


main()
