"""PyTorch's time for one training step of our models: peer.py NAME STEPS, prints one JSON object.

The same network, batch and optimizer as the `.net` file of that name; eager and torch.compile, f32 and autocast bf16,
channels-first and channels-last, on all cores of this process. Data is in memory and the same batch is used again, so
only the step is timed: the median over rounds of ten steps, at least three rounds and at most so many as half a minute
holds.
"""
import json
import sys
import time

import torch
from torch import nn


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


def network(name):
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


def time_step(name, element, compiled, last, steps):
    torch.manual_seed(1)
    model, optimizer = network(name)
    image = torch.randint(0, 256, (128, 28, 28), dtype=torch.uint8)
    label = torch.randint(0, 10, (128,))
    if last:
        model = model.to(memory_format=torch.channels_last)

    def forward(image, label):
        x = (image.float() / 255).unsqueeze(1)
        if last:
            x = x.to(memory_format=torch.channels_last)
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=element == "bf16"):
            return nn.functional.cross_entropy(model(x).float(), label)

    forward = torch.compile(forward) if compiled else forward

    def step():
        optimizer.zero_grad()
        forward(image, label).backward()
        optimizer.step()

    for _ in range(5):
        step()
    rounds = []
    end = time.monotonic() + 30
    while len(rounds) < 3 or (len(rounds) * 10 < steps and time.monotonic() < end):
        start = time.perf_counter()
        for _ in range(10):
            step()
        rounds.append((time.perf_counter() - start) * 100)
    return sorted(rounds)[len(rounds) // 2]


def main():
    name, steps = sys.argv[1], int(sys.argv[2])
    times = {}
    for element in ("f32", "bf16"):
        for compiled in (False, True):
            for last in ((False,) if name == "fashion_mlp" else (False, True)):
                key = f"{element} {'compile' if compiled else 'eager'}{' channels-last' if last else ''}"
                times[key] = time_step(name, element, compiled, last, steps)
    print(json.dumps(times))


main()
