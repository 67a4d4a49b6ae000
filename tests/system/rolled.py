"""Rolled repeats against the same text unrolled, on devices and under policies: rolled.py CASTOR DEVICE SEED MODELS.

Each model has several loops with bodies that are drawn at random: products, normalisations, indices of several kinds,
loops in loops, values that are carried, kept and collected. Losses, outputs and gradients of both texts must agree: in
f32 but for the order of sums, even where no pass may rewrite (then two nodes take the same result of a loop); in halves
the rolled one may be no farther from f32 than the unrolled one, times a factor.
"""
import os
import random
import sys
import tempfile

from castor import ROOT, castor, check, finish, need_sim

sys.path.insert(0, os.path.join(ROOT, "tests", "pytorch"))
import safetensors  # noqa: E402

# Much is compiled here and little run; what kernels compute does not depend on optimisation.
os.environ["CC"] = os.path.join(ROOT, "tests", "fuzz", "quick-cc")
WIDTH, PLACES, BATCH, LOOPS = 6, 5, 4, 4
POLICIES = ("f32", "autocast(f16)", "almost(bf16)")


class Body:
    """Draws the statements of one loop."""

    def __init__(self, draw, number):
        self.draw, self.number, self.labels = draw, number, 0

    def index(self, turn, low, high):
        choices = [f"{turn}", f"{PLACES - 1} - {turn}", "2", "-1"]
        if high < PLACES:
            choices.append(f"{turn} + 1")
        if low > 0:
            choices.append(f"{turn} - 1")
        return self.draw.choice(choices)

    def label(self):
        self.labels += 1
        return f"l{self.number}_{self.labels}"

    def expression(self, pool, turn, low, high):
        p, q = self.draw.choice(pool), self.draw.choice(pool)
        place = f"x[:, {self.index(turn, low, high)}]"
        return self.draw.choice([
            f"tanh({p} + {q})", f"{p} * sigmoid({q})", f"tanh({p} @ w)", f"tanh({place} @ w')", f"{p} + {place}",
            f"({p} + {place}) / 2", f"softmax({p}) * {q}", f"{p} * ({turn} + 1) / {PLACES}", f"{p} / (1 + norm({p}, axis = 1))",
            f"tanh({p} |> linear({WIDTH}) as {self.label()})", f"{place} |> linear({WIDTH}) as {self.label()}",
            f"if {turn} < 2 then {p} else {q}", f"gather(table, tokens[:, {self.index(turn, low, high)}]) * {p}",
            f"stop_gradient({p}) + {q}", f"max({p}, {q})"])

    def text(self, word):
        low = self.draw.choice([0, 0, 1])
        high = self.draw.choice([PLACES, PLACES, PLACES - 1])
        i, pool, lines = self.number, ["a", "c", "z"], []
        for n in range(self.draw.randint(1, 5)):
            lines.append(f"v{n} = {self.expression(pool, 't', low, high)}")
            pool.append(f"v{n}")
        if self.draw.random() < 0.3:
            lines.append(f"repeat {word} j in 0..2 {{ a = tanh(a * 0.5 + {self.draw.choice(pool)} @ w + x[:, j]) }}")
        lines.append(f"a = tanh({pool[-1]} + 0.5 * a)")
        if self.draw.random() < 0.6:
            lines.append(f"c = {self.draw.choice(pool)}")
        lines.append(f"collect s = {self.draw.choice(pool + ['a'])}")
        body = "\n        ".join(lines)
        return (f"    a = x[:, 0]\n    c = z\n    repeat {word} t in {low}..{high} {{\n        {body}\n    }}\n"
                f"    y = y + mean(a * z) + mean(c) + sum(s) / {BATCH * WIDTH}\n    output a{i} = a\n    output s{i} = s\n")


def model(seed, word):
    draw = random.Random(seed)
    loops = "".join(Body(draw, number).text(word) for number in range(LOOPS))
    return (f"model (x: f32[batch, {PLACES}, {WIDTH}], z: f32[batch, {WIDTH}], tokens: class(7)[batch, {PLACES}]) {{\n"
            f"    param w: [{WIDTH}, {WIDTH}] ~ normal(0, 0.4)\n    param table: [7, {WIDTH}] ~ normal(0, 1)\n"
            f"    y = zeros([])\n{loops}    loss = y\n}}\n"
            f"train {{\n    data synthetic(examples = 8, x = normal(0, 1), z = normal(0, 1), tokens = classes)\n    batch {BATCH}\n"
            f"    steps 1\n    minimize loss with sgd(lr = 0.1)\n}}\n")


def feed(folder, seed):
    draw = random.Random(seed)
    normal = [round(draw.gauss(0, 1), 3) for _ in range(BATCH * PLACES * WIDTH)]
    safetensors.write(os.path.join(folder, "feed.safetensors"), {
        "x": ("F32", [BATCH, PLACES, WIDTH], normal), "z": ("F32", [BATCH, WIDTH], normal[: BATCH * WIDTH][::-1]),
        "tokens": ("I32", [BATCH, PLACES], [draw.randrange(7) for _ in range(BATCH * PLACES)])})


def run(folder, name, policy, device, *flags):
    out = os.path.join(folder, "out.safetensors")
    castor("run", os.path.join(folder, name), "--graph", "train", "--feed", os.path.join(folder, "feed.safetensors"), "--fetch", out,
           "--policy", policy, "--device", device, "--cache", os.path.join(folder, "cache"), "--verify-each", "--seed", "3",
           *flags)
    return safetensors.read(out)


def distance(got, wanted):
    """Root of the mean of the squared differences, beside the largest magnitude."""
    difference = sum((a - b) ** 2 for a, b in zip(got, wanted)) / max(1, len(wanted))
    return difference ** 0.5 / max(1e-6, max(abs(b) for b in wanted))


def compare(folder, device, seed):
    for name, word in (("rolled.net", "rolled"), ("unrolled.net", "")):
        with open(os.path.join(folder, name), "w") as file:
            file.write(model(seed, word))
    feed(folder, seed)
    exact = run(folder, "unrolled.net", "f32", "host")
    plain = run(folder, "rolled.net", "f32", device, "--pass-limit", "0")
    for name in exact:
        off = distance(values(plain[name]), values(exact[name]))
        check(off <= 2e-6, f"seed {seed} on {device}, f32 without rewrites: {name} is off by {off:.2e}")
    for policy in POLICIES:
        rolled = run(folder, "rolled.net", policy, device)
        plain = exact if policy == "f32" else run(folder, "unrolled.net", policy, device)
        check(set(rolled) == set(exact), f"seed {seed}, {policy}: other names")
        for name in exact:
            off = distance(values(rolled[name]), values(exact[name]))
            bound = 2e-6 if policy == "f32" else 4 * distance(values(plain[name]), values(exact[name])) + 2e-3
            check(off <= bound, f"seed {seed} on {device}, {policy}: {name} is off by {off:.2e}, bound {bound:.2e}")


def values(tensor):
    return tensor[2] if isinstance(tensor, tuple) else list(tensor.ravel())


def main():
    device, seed, models = sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
    if device == "sim":
        need_sim()
    with tempfile.TemporaryDirectory() as folder:
        for number in range(models):
            compare(folder, device, seed + number)
    finish()


if __name__ == "__main__":
    main()
