"""Makes the numbers that networks.py compares with: networks_reference.py [NAME ...], with PyTorch installed.

Each class is a network as it was published, under torchvision's names where torchvision has it, written for this
comparison. It is first counted at full size against the number of parameters it is known to have, then run at the reduced
size, in f64. Run it again only to add a network: the files are committed, and the tests do not need PyTorch.
"""
import json
import os
import sys

import torch
from torch import nn
from torch.nn import functional as F

import networks


def conv_bn(inputs, out, kernel, stride=1, pad=0):
    return nn.Sequential(nn.Conv2d(inputs, out, kernel, stride, pad, bias=False), nn.BatchNorm2d(out))


class Block(nn.Module):
    """A residual block: 3 x 3 twice, or with a bottleneck 1 x 1, 3 x 3, 1 x 1."""

    def __init__(self, inputs, width, stride, bottleneck):
        super().__init__()
        out = 4 * width if bottleneck else width
        shapes = [(inputs, width, 1, 1), (width, width, 3, stride), (width, out, 1, 1)] if bottleneck else [
            (inputs, width, 3, stride), (width, out, 3, 1)]
        self.depth = len(shapes)
        for i, (a, b, kernel, step) in enumerate(shapes, 1):
            self.add_module(f"conv{i}", nn.Conv2d(a, b, kernel, step, kernel // 2, bias=False))
            self.add_module(f"bn{i}", nn.BatchNorm2d(b))
        self.downsample = conv_bn(inputs, out, 1, stride) if stride != 1 or inputs != out else nn.Identity()

    def forward(self, x):
        y = x
        for i in range(1, self.depth + 1):
            y = getattr(self, f"bn{i}")(getattr(self, f"conv{i}")(y))
            y = torch.relu(y) if i < self.depth else y
        return torch.relu(self.downsample(x) + y)


class ResNet(nn.Module):
    def __init__(self, depths, bottleneck, cifar=False, size=224, channels=3, classes=1000, width=64):
        super().__init__()
        self.cifar = cifar
        self.conv1 = nn.Conv2d(channels, width, *((3, 1, 1) if cifar else (7, 2, 3)), bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        inputs = width
        for i, depth in enumerate(depths):
            blocks = []
            for k in range(depth):
                blocks.append(Block(inputs, width << i, 2 if i and not k else 1, bottleneck))
                inputs = (4 if bottleneck else 1) * (width << i)
            self.add_module(f"layer{i + 1}", nn.Sequential(*blocks))
        self.fc = nn.Linear(inputs, classes)

    def forward(self, x):
        x = torch.relu(self.bn1(self.conv1(x)))
        x = x if self.cifar else F.max_pool2d(x, 3, 2, 1)
        x = self.layer4(self.layer3(self.layer2(self.layer1(x))))
        return self.fc(x.mean((2, 3)))


class Unit(nn.Module):
    def __init__(self, inputs, out):
        super().__init__()
        self.conv, self.norm = nn.Conv2d(inputs, out, 3, 1, 1, bias=False), nn.BatchNorm2d(out)

    def forward(self, x):
        return torch.relu(self.norm(self.conv(x)))


class Stage(nn.Module):
    def __init__(self, inputs, out, residual):
        super().__init__()
        self.down = Unit(inputs, out)
        if residual:
            self.res1, self.res2 = Unit(out, out), Unit(out, out)
        self.residual = residual

    def forward(self, x):
        x = F.max_pool2d(self.down(x), 2)
        return x + self.res2(self.res1(x)) if self.residual else x


class ResNet9(nn.Module):
    def __init__(self, size=32, channels=3, classes=10, width=64):
        super().__init__()
        self.prep = Unit(channels, width)
        self.layer1, self.layer2 = Stage(width, 2 * width, True), Stage(2 * width, 4 * width, False)
        self.layer3 = Stage(4 * width, 8 * width, True)
        self.fc = nn.Linear(8 * width, classes, bias=False)

    def forward(self, x):
        return 0.125 * self.fc(self.layer3(self.layer2(self.layer1(self.prep(x)))).amax((2, 3)))


# The parameters at full size that are published, and the network by its options.
NETWORKS = {
    "resnet18": (11689512, lambda **options: ResNet([2, 2, 2, 2], False, **options)),
    "resnet50": (25557032, lambda **options: ResNet([3, 4, 6, 3], True, **options)),
    "resnet18_cifar": (11173962, lambda **options: ResNet([2, 2, 2, 2], False, True, **{"classes": 10, **options})),
    "resnet9": (6573120, ResNet9),
}


def count(name):
    parameters, make = NETWORKS[name]
    with torch.device("meta"):
        counted = sum(parameter.numel() for parameter in make().parameters())
    if counted != parameters:
        sys.exit(f"{name} has {counted} parameters, not {parameters}")


def step(name, seed, element):
    """Loss and gradients, by name, as their shape, RMS and projections."""
    model = NETWORKS[name][1](**networks.NETWORKS[name][1]).to(element)
    feed = networks.feed_of(name, seed, {key: list(value.shape) for key, value in model.named_parameters()})
    tensors = {key: torch.tensor(values, dtype=torch.int64 if kind == "I32" else element).view(shape)
               for key, (kind, shape, values) in feed.items()}
    with torch.no_grad():
        for key, parameter in model.named_parameters():
            parameter.copy_(tensors[key])
    loss = F.cross_entropy(model(tensors["image"]), tensors["label"])
    loss.backward()
    rows = {}
    for key, parameter in model.named_parameters():
        values = parameter.grad.flatten().tolist()
        rows[key] = {"shape": list(parameter.shape), "rms": float(f"{networks.rms(values):.9g}"),
                     "projections": [float(f"{value:.9g}") for value in networks.projections(key, values)]}
    return loss.item(), rows


def distance(exact, rounded):
    """The largest RMSE of a gradient, relative to its bound's measure."""
    least = 1e-3 * networks.rms_of_all(exact)
    return max(networks.rms([a - b for a, b in zip(row["projections"], rounded[key]["projections"])]) / max(row["rms"], least)
               for key, row in exact.items())


def reference(name):
    """Of the first seed for which f32 suffices: where a rounding carries an activation over the kink of a relu or to
    another maximum of a window, the gradients of few examples change by per cents, in PyTorch as in Castor."""
    for seed in range(5):
        loss, exact = step(name, seed, torch.float64)
        far = distance(exact, step(name, seed, torch.float32)[1])
        if far < 2e-5:
            print(f"{name}: seed {seed}, f32 is {far:.2g} from f64")
            return seed, loss, exact
        print(f"{name}: seed {seed}, f32 is {far:.2g} from f64: the next one")
    sys.exit(f"{name}: no seed for which f32 suffices; enlarge images or batch")


def write(name):
    seed, loss, rows = reference(name)
    lines = ",\n".join(f"{json.dumps(key)}: {json.dumps(row)}" for key, row in rows.items())
    os.makedirs(os.path.dirname(networks.path_of(name)), exist_ok=True)
    with open(networks.path_of(name), "w") as file:
        file.write(f'{{"seed": {seed}, "loss": {loss:.17g}, "gradients": {{\n{lines}\n}}}}\n')


for wanted in sys.argv[1:] or NETWORKS:
    count(wanted)
    write(wanted)
