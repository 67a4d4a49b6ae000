"""Fuzzer of the language: random networks, whose loss and gradients `castor compare` holds against f64.

    nets.py CASTOR SEED COUNT [DEVICE [POLICY...]]

What the graph fuzzer draws op by op has little of what layers, slices and repeats expand to, one behind the other on
the same values; so here statements are drawn. A network fails when it does not compile or run, or when its error is
four times that of rounding op by op, and a tolerance. It is written to ./net-SEED-DEVICE.net then.
"""
import json
import math
import os
import random
import subprocess
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.append(os.path.join(HERE, "..", "system"))
from castor import CASTOR, need_sim  # noqa: E402: it lies in the folder just named

os.environ["CC"] = os.path.join(HERE, "quick-cc")

SIZES = (1, 2, 3, 4, 5, 7, 8, 16, 17, 33, 64)
ELEMENTS = 12000  # of the largest value
FUNCTIONS = ("relu", "tanh", "sigmoid", "gelu", "silu", "softplus", "elu", "sin", "cos", "expm1", "abs", "leaky_relu")


class Net:
    """The statements so far, and the values that they bind, each with its shape."""

    def __init__(self, seed):
        self.random = random.Random(seed)
        self.lines, self.values, self.params = [], [], []
        self.batch = self.random.choice((1, 2, 3, 4, 7))
        self.sizes = self.random.sample(SIZES, 3)

    def chance(self, share):
        return self.random.random() < share

    def size(self):
        return self.random.choice(self.sizes)

    def bind(self, expression, shape):
        """A new value; None, and no statement, where it would be too large."""
        if math.prod(shape) > ELEMENTS or len(shape) > 6:
            return None
        name = f"v{len(self.values)}"
        self.lines.append(f"{name} = {expression}")
        self.values.append((name, list(shape)))
        return name

    def param(self, shape):
        name = f"p{len(self.params)}"
        self.lines.append(f"param {name}: {shape} ~ normal(0, 0.6)")
        self.params.append(name)
        return name


# ---- statements: each of a value, its shape and one of its axes ----

def replaced(shape, axis, *sizes):
    return shape[:axis] + list(sizes) + shape[axis + 1:]


def function(net, a, shape, axis):
    net.bind(f"{net.random.choice(FUNCTIONS)}({a})", shape)


def arithmetic(net, a, shape, axis):
    """With another value that broadcasts."""
    others = [value for value in net.values if value[0] != a]
    net.random.shuffle(others)
    for b, other in others:
        rank = max(len(shape), len(other))
        left, right = [[1] * (rank - len(s)) + s for s in (shape, other)]
        if all(m == n or 1 in (m, n) for m, n in zip(left, right)):
            form = net.random.choice(("{} + {}", "{} - {}", "{} * {}", "max({}, {})", "min({}, {})"))
            net.bind(form.format(a, b), [max(m, n) for m, n in zip(left, right)])
            return


def reduction(net, a, shape, axis):
    axes = sorted(net.random.sample(range(len(shape)), net.random.randint(1, len(shape))))
    made = net.bind(f"{net.random.choice(('sum', 'mean', 'mean', 'max', 'min'))}({a}, axis = {axes})",
                    [1 if i in axes else n for i, n in enumerate(shape)])
    if net.chance(0.6):
        net.bind(f"{a} {net.random.choice('+-*')} {made}", shape)
    elif net.chance(0.5):
        net.bind(f"squeeze({made}, {axes})", [n for i, n in enumerate(shape) if i not in axes])


def row(net, a, shape, axis):
    """What looks at a whole row of an axis and keeps the shape."""
    net.bind(net.random.choice((
        "softmax({a}, axis = {axis})", "log_softmax({a}, axis = {axis})", "{a} - logsumexp({a}, axis = {axis})",
        "{a} / (norm({a}, axis = {axis}) + 0.1)", "{a} * rsqrt(var({a}, axis = {axis}) + 0.1)",
        "{a} - stop_gradient(max({a}, axis = {axis}))", "cumsum({a}, axis = {axis})",
        "flip(cumsum(flip({a}, {axis}), axis = {axis}), {axis})",
        "{a} * one_hot(argmax({a}, axis = {axis}), {n}, axis = {axis})",
        "{a} + 0.1 * unsqueeze(argmax({a}, axis = {axis}), {axis})", "{a} * stop_gradient(mean({a}))",
    )).format(a=a, axis=axis, n=shape[axis]), shape)


def product_of_row(net, a, shape, axis):
    if shape[axis] < 6:
        net.bind(f"{a} * prod(tanh({a}) + 1.1, axis = {axis})", shape)


def each_with_each(net, a, shape, axis):
    outer = f"unsqueeze({a}, {axis + 1}) {net.random.choice('-*+')} unsqueeze({a}, {axis})"
    made = net.bind(net.random.choice((outer, f"tanh({outer})")), replaced(shape, axis, shape[axis], shape[axis]))
    if made and net.chance(0.7):
        which = net.random.choice((axis, axis + 1))
        net.bind(f"squeeze({net.random.choice(('sum', 'mean', 'max'))}({made}, axis = {which}), {which})", shape)


def permutation(net, a, shape, axis):
    order = net.random.sample(range(len(shape)), len(shape))
    net.bind(f"permute({a}, {order})", [shape[i] for i in order])


def reshape(net, a, shape, axis):
    if axis + 1 < len(shape) and net.chance(0.6):
        made = replaced(shape[:axis + 1] + shape[axis + 2:], axis, shape[axis] * shape[axis + 1])
    else:
        parts = [n for n in (2, 3, 4, 8) if shape[axis] % n == 0 and shape[axis] > n]
        if not parts:
            return
        part = net.random.choice(parts)
        made = replaced(shape, axis, part, shape[axis] // part)
    net.bind(f"reshape({a}, {made})", made)


def unsqueeze(net, a, shape, axis):
    net.bind(f"unsqueeze({a}, {axis})", shape[:axis] + [1] + shape[axis:])


def matmul(net, a, shape, axis):
    if len(shape) < 2:
        return
    if net.chance(0.6):
        columns = net.random.choice((1, 2, 3, 8))
        net.bind(f"{a} @ {net.param([shape[-1], columns])}", shape[:-1] + [columns])
    else:
        net.bind(f"{a} @ {a}'", shape[:-1] + [shape[-2]])


def concat(net, a, shape, axis):
    fit = [v for v in net.values if len(v[1]) == len(shape) and replaced(v[1], axis) == replaced(shape, axis)]
    chosen = [(a, shape)] + [net.random.choice(fit) for _ in range(net.random.randint(1, 5))]
    net.bind(f"concat({', '.join(name for name, _ in chosen)}, axis = {axis})",
             replaced(shape, axis, sum(s[axis] for _, s in chosen)))


def part(net, a, shape, axis):
    n = shape[axis]
    low = net.random.randrange(n // 2 + 1) if n > 1 else 0
    high, step = net.random.randint(max(low + 1, n - n // 4), n), net.random.choice((1, 2, 3))
    index = [":"] * len(shape)
    index[axis] = f"{low}:{high}" + (f":{step}" if step > 1 else "")
    net.bind(f"{a}[{', '.join(index)}]", replaced(shape, axis, (high - low + step - 1) // step))


def movement(net, a, shape, axis):
    n = shape[axis]
    before, behind, few = net.random.randint(0, 2), net.random.randint(0, 2), net.random.randint(1, n)
    copies = replaced([1] * len(shape), axis, 2)
    expression, made = net.random.choice((
        (f"flip({a}, {axis})", n), (f"tile({a}, {copies})", 2 * n), (f"gather({a}, range({few}), axis = {axis})", few),
        (f"pad({a}, [{before}, {behind}], axis = {axis}, value = {before})", before + n + behind)))
    net.bind(expression, replaced(shape, axis, made))


def stack(net, a, shape, axis):
    net.bind(f"stack({a}, sin({a}), axis = {axis})", shape[:axis] + [2] + shape[axis:])


def order(net, a, shape, axis):
    few = net.random.randint(1, shape[axis])
    number = len(net.lines)
    expression, made = net.random.choice(((f"sort({a}, {axis})", shape[axis]), (f"top_k({a}, {few}, {axis})", few)))
    net.lines.append(f"sorted{number}, places{number} = {expression}")
    net.bind(f"sorted{number} * 1", replaced(shape, axis, made))


def choice(net, a, shape, axis):
    net.bind(f"if {a} > 0.3 then {a} * {a} else sin({a})", shape)


def halves(net, a, shape, axis):
    if shape[axis] % 2 == 0:
        number = len(net.lines)
        net.lines.append(f"left{number}, right{number} = split({a}, 2, {axis})")
        net.bind(f"left{number} * sigmoid(right{number})", replaced(shape, axis, shape[axis] // 2))


def image(net, a, shape, axis):
    """Convolutions and windows of what has four axes."""
    if len(shape) != 4 or min(shape[2:]) < 3:
        return
    n, c, h, w = shape
    kernel, stride, out, bins = (net.random.choice(s) for s in ((1, 2, 3), (1, 1, 2), (1, 2, 3, 8), (1, 2, 3)))
    convolved = (f"{a} |> conv({out}, {kernel}, stride = {stride}, pad = 1)",
                 [n, out, (h + 2 - kernel) // stride + 1, (w + 2 - kernel) // stride + 1])
    expression, made = net.random.choice((
        convolved, convolved, convolved,
        (f"{a} |> conv_transpose(2, 3, stride = 2, pad = 1, output_pad = 1)", [n, 2, 2 * h, 2 * w]),
        (f"max_pool({a}, 2)", [n, c, h // 2, w // 2]), (f"avg_pool({a}, 2)", [n, c, h // 2, w // 2]),
        (f"adaptive_avg_pool({a}, {bins})", [n, c, bins, bins]),
        (f"window({a}, 2, pad = 1)", [n, c, h + 1, w + 1, 2, 2]),
        (f"{a} |> batch_norm |> relu", shape), (f"{a} |> local_response_norm({bins})", shape)))
    net.bind(expression, made)


def layer(net, a, shape, axis):
    if shape[-1] > 2:
        net.bind(net.random.choice(("{} |> layer_norm", "{} |> rms_norm", "dropout({}, 0.4)")).format(a), shape)


def repeat(net, a, shape, axis):
    number = len(net.lines)
    turn = net.random.choice((f"h{number} + {a}", f"h{number} * 1.2 - mean(h{number}, axis = {axis})",
                              f"softmax(h{number}, axis = {axis}) + t * {a}"))
    net.lines += [f"h{number} = {a}",
                  f"repeat {net.random.choice(('rolled ', ''))}t in 0..{net.random.choice((1, 3))} {{",
                  f"    h{number} = tanh({turn})", f"    collect all{number} = h{number}", "}"]
    net.bind(f"sum(all{number}, axis = 0)[0] + h{number}", shape)


STATEMENTS = (function, function, arithmetic, arithmetic, arithmetic, reduction, reduction, row, row, row,
              product_of_row, each_with_each, permutation, reshape, reshape, unsqueeze, matmul, concat, part, part,
              movement, movement, stack, order, choice, halves, layer, repeat)


def model(net):
    """Draws the statements; the text of the model."""
    images = net.chance(0.4)
    x = [net.batch] + [net.size() for _ in range(net.random.randint(1, 3))]
    if images:
        x = [net.batch, net.random.choice((1, 2, 3, 8))] + [net.random.choice((4, 5, 7, 8, 16)) for _ in range(2)]
    w = [net.batch] + [net.size() for _ in range(net.random.randint(1, 2))]
    net.values += [("x", x), ("w", w)]
    for _ in range(net.random.randint(1, 3)):
        shape = x[1:] if net.chance(0.5) else [net.size() for _ in range(net.random.randint(1, 3))]
        shape = [1 if net.chance(0.2) else n for n in shape]
        net.values.append((net.param(shape), shape))
    for _ in range(net.random.randint(8, 24)):
        name, shape = net.random.choice([value for value in net.values if value[1]][-6:])
        statement = image if images and len(shape) == 4 and net.chance(0.5) else net.random.choice(STATEMENTS)
        statement(net, name, shape, net.random.randrange(len(shape)))
    terms = [f"mean(tanh({name}) * {name})" for name, _ in net.values]
    terms += [f"0.1 * mean({name} * {name})" for name in net.params]
    inputs = ", ".join(f"{name}: f32[{', '.join(['batch'] + [str(n) for n in shape[1:]])}]"
                       for name, shape in (("x", x), ("w", w)))
    body = "\n".join(f"    {line}" for line in net.lines + [f"loss = {' + '.join(terms)}"])
    return f"model ({inputs}) {{\n{body}\n}}\n"


def network(seed):
    net = Net(seed)
    return model(net) + f"""train {{
    data     synthetic(examples = 16, x = normal, w = normal)
    batch    {net.batch}
    steps    1
    minimize loss with sgd(lr = 0.01)
    seed     3
}}
"""


# ---- comparing ----

def problems(path, device, policies):
    """What is wrong with a network, as text; empty where nothing is."""
    command = [CASTOR, "compare", path, "--device", device, "--json"]
    for policy in policies:
        command += ["--policy", policy]
    result = subprocess.run(command, capture_output=True, text=True, timeout=600)
    if "error[E0206]" in result.stderr:  # the examples' axis has met another one: that is no network
        return ""
    if result.returncode:
        return f"exit {result.returncode}: {result.stderr}"
    found = ""
    for row_of in json.loads(result.stdout):
        for what in ("loss", "grad"):
            error, usual, scale = (row_of[f"{what}_{end}"] for end in ("rmse", "rmse_op_by_op", "rms"))
            tolerance = (1e-5 if row_of["policy"] == "f32" else 1e-2) * max(scale or 0, 1e-2)
            if error is None or usual is None or error > 4 * usual + tolerance:
                found += f"{row_of['policy']}: the {what} is off by {error}, op by op by {usual}, of {scale}\n"
    return found


def main():
    seed, count = int(sys.argv[2]), int(sys.argv[3])
    device = sys.argv[4] if len(sys.argv) > 4 else "host"
    policies = sys.argv[5:] or ["f32", "autocast(f16)"]
    if device == "sim":
        need_sim()
    failed = 0
    for number in range(seed, seed + count):
        path = f"net-{number}-{device}.net"
        with open(path, "w", encoding="ascii") as file:
            file.write(network(number))
        found = problems(path, device, policies)
        if found:
            print(f"{path}: {found}", end="")
            failed += 1
        else:
            os.remove(path)
    print(f"{count} networks on {device}, {failed} failed")
    sys.exit(failed > 0)


if __name__ == "__main__":
    main()
