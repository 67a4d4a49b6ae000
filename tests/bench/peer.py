"""PyTorch's time for one training step of our models: peer.py CASE TYPE..., prints one JSON object.

The same network, batch, optimizer and clipping as bench.py's case of that name; eager and torch.compile, f32 and autocast
bf16, channels-first and, where there are channels, -last, on all cores of this process. Data is in memory and the same
batch is used again, so only the step is timed: the median over rounds of ten steps, or fewer where these take more than
three seconds, at least three rounds and at most so many as half a minute holds. A step of more than LONG_STEP seconds
(bf16 on a processor without it) is timed once, behind one that warms up. What fails with PyTorch's oneDNN (its LSTM in
bf16 on such a processor) is tried without.
"""
import json
import os
import sys
import time

import torch
from torch import nn

LONG_STEP = 4


class Block(nn.Module):
    def __init__(self, inputs, outputs, stride):
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(outputs)
        self.down = None
        if stride != 1 or inputs != outputs:
            self.down = nn.Sequential(nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs))

    def forward(self, x):
        y = self.bn2(self.conv2(torch.relu(self.bn1(self.conv1(x)))))
        return torch.relu((x if self.down is None else self.down(x)) + y)


def stage(inputs, outputs):
    return [nn.Conv2d(inputs, outputs, 3, padding=1, bias=False), nn.BatchNorm2d(outputs), nn.ReLU(), nn.MaxPool2d(2)]


def field_network(name):
    """Of the networks that are compared with PyTorch anyhow."""
    sys.path.append(os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "pytorch"))
    import networks_reference as networks
    make = {"resnet18": lambda: networks.ResNet([2, 2, 2, 2], False, True, classes=10),
            "gpt": lambda: networks.GPT(256, 256, 384, 6, 6),
            "lstm": lambda: networks.CharLSTM(256, 64, 256, 2),
            "vit": lambda: networks.VisionTransformer(32, 3, 10, 4, 192, 6, 3)}
    model = make[name]()
    if name == "resnet18":
        return model, torch.optim.SGD(model.parameters(), 0.1, momentum=0.9, weight_decay=5e-4, fused=True), None
    if name == "lstm":
        return model, torch.optim.Adam(model.parameters(), 2e-3, fused=True), 5
    return model, torch.optim.AdamW(model.parameters(), 1e-3, weight_decay=0.1, fused=True), 1


def batch_of(name):
    """Input and label."""
    if name == "gpt":
        tokens = torch.randint(0, 256, (8, 257))
    elif name == "lstm":
        tokens = torch.randint(0, 256, (32, 65))
    else:
        small = name.startswith("fashion")
        image = torch.randint(0, 256, (128, 28, 28), dtype=torch.uint8) if small else torch.randn(64, 3, 32, 32)
        return image, torch.randint(0, 10, (len(image),))
    return tokens[:, :-1], tokens[:, 1:].flatten()


def network(name):
    """The model, its optimizer and the norm to which gradients are clipped."""
    if not name.startswith("fashion"):
        return field_network(name)
    return *fashion_network(name), None


def fashion_network(name):
    if name == "fashion_mlp":
        model = nn.Sequential(nn.Flatten(), nn.Linear(784, 1024), nn.ReLU(), nn.Linear(1024, 10))
        return model, torch.optim.Adam(model.parameters(), 1e-3, fused=True)
    if name == "fashion_cnn":
        model = nn.Sequential(*stage(1, 32), *stage(32, 64), nn.Flatten(), nn.Dropout(0.25), nn.Linear(3136, 128),
                              nn.ReLU(), nn.Linear(128, 10))
        return model, torch.optim.Adam(model.parameters(), 1e-3, fused=True)
    layers = [nn.Conv2d(1, 16, 3, padding=1, bias=False), nn.BatchNorm2d(16), nn.ReLU()]
    inputs = 16
    for outputs, stride in ((16, 1), (32, 2), (64, 2)):
        layers += [Block(inputs, outputs, stride), Block(outputs, outputs, 1)]
        inputs = outputs
    model = nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(64, 10))
    return model, torch.optim.SGD(model.parameters(), 0.1, momentum=0.9, weight_decay=5e-4, fused=True)


def time_step(name, element, compiled, last):
    torch.manual_seed(1)
    model, optimizer, most = network(name)
    given, label = batch_of(name)
    if last:
        model = model.to(memory_format=torch.channels_last)

    def forward(x, label):
        if x.dtype == torch.uint8:
            x = (x.float() / 255).unsqueeze(1)
        if last:
            x = x.to(memory_format=torch.channels_last)
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=element == "bf16"):
            return nn.functional.cross_entropy(model(x).float().view(len(label), -1), label)

    forward = torch.compile(forward) if compiled else forward

    def step():
        optimizer.zero_grad()
        forward(given, label).backward()
        if most:
            torch.nn.utils.clip_grad_norm_(model.parameters(), most)
        optimizer.step()

    step()
    start = time.perf_counter()
    step()
    first = time.perf_counter() - start
    if first > LONG_STEP:
        return first * 1000
    count = max(1, min(10, int(3 / first)))
    for _ in range(min(count, 3)):
        step()
    rounds = []
    end = time.monotonic() + 30
    while len(rounds) < 3 or (len(rounds) < 6 and time.monotonic() < end):
        start = time.perf_counter()
        for _ in range(count):
            step()
        rounds.append((time.perf_counter() - start) * 1000 / count)
    return sorted(rounds)[len(rounds) // 2]


def main():
    name = sys.argv[1]
    times = {}
    for element in sys.argv[2:]:
        for compiled in (False, True):
            for last in (False, True) if name in ("fashion_cnn", "fashion_resnet", "resnet18") else (False,):
                key = f"{element} {'compile' if compiled else 'eager'}{' channels-last' if last else ''}"
                try:
                    times[key] = time_step(name, element, compiled, last)
                except RuntimeError as error:
                    print(f"{name} {key}: {str(error).strip().split(chr(10))[0]}", file=sys.stderr)
                    key += " without oneDNN"
                    with torch.backends.mkldnn.flags(enabled=False):
                        times[key] = time_step(name, element, compiled, last)
                print(f"{name} {key}: {times[key]:.1f} ms", file=sys.stderr, flush=True)
    print(json.dumps(times))


main()
