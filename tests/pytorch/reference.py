"""Makes the reference numbers that the tests compare with: reference.py, with PyTorch installed.

Writes data/NET_OPTIMIZER.safetensors (a batch, the initial weights, and for ten steps the loss and every gradient) and
data/scaler.txt (GradScaler's scale and tracker over scripted sequences of overflows). Run it again only to add a case:
the files are committed, and the tests do not need PyTorch.
"""
import os
import random

import torch
from torch import nn

import safetensors

HERE = os.path.dirname(os.path.abspath(__file__))
STEPS = 10
OPTIMIZERS = {
    "adam": lambda p: torch.optim.Adam(p, 1e-2),
    "adamw": lambda p: torch.optim.AdamW(p, 1e-2, weight_decay=0.1),
    "sgd": lambda p: torch.optim.SGD(p, 0.1, momentum=0.9, weight_decay=5e-4),
}


class Stage(nn.Module):
    def __init__(self, inputs, outputs):
        super().__init__()
        self.conv = nn.Conv2d(inputs, outputs, 3, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(outputs)

    def forward(self, x):
        return nn.functional.max_pool2d(torch.relu(self.norm(self.conv(x))), 2)


class Mlp(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc1, self.fc2 = nn.Linear(64, 24), nn.Linear(24, 10)

    def forward(self, image):
        return self.fc2(torch.relu(self.fc1((image.float() / 255).flatten(1))))


class Cnn(nn.Module):
    def __init__(self):
        super().__init__()
        self.stage1, self.stage2 = Stage(1, 4), Stage(4, 8)
        self.fc1, self.fc2 = nn.Linear(32, 16), nn.Linear(16, 10)

    def forward(self, image):
        x = self.stage2(self.stage1((image.float() / 255).unsqueeze(1)))
        return self.fc2(torch.relu(self.fc1(x.flatten(1))))


def put(tensors, name, tensor, element="F32"):
    tensors[name] = (element, list(tensor.shape), tensor.detach().flatten().tolist())


def trajectory(make, optimizer_name):
    torch.manual_seed(7)
    model = make()
    image = torch.randint(0, 256, (16, 8, 8), dtype=torch.uint8)
    label = torch.randint(0, 10, (16,))
    optimizer = OPTIMIZERS[optimizer_name](model.parameters())
    tensors, losses = {}, []
    put(tensors, "image", image, "U8")
    put(tensors, "label", label, "I32")
    for name, parameter in model.named_parameters():
        put(tensors, name, parameter)
    for step in range(STEPS):
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(model(image), label)
        loss.backward()
        losses.append(loss.item())
        for name, parameter in model.named_parameters():
            put(tensors, f"grad.{step}.{name}", parameter.grad)
        optimizer.step()
    tensors["losses"] = ("F32", [STEPS], losses)
    return tensors


def scaler_rows(interval, overflows):
    """One line a step: found_inf, scale after it, growth tracker after it."""
    parameter = nn.Parameter(torch.ones(1))
    optimizer = torch.optim.SGD([parameter], 0.0)
    scaler = torch.amp.GradScaler("cpu", init_scale=65536.0, growth_factor=2.0, backoff_factor=0.5,
                                  growth_interval=interval)
    rows = []
    for overflow in overflows:
        scaler.scale(parameter.sum()).backward()
        if overflow:
            parameter.grad.fill_(float("inf"))
        scaler.step(optimizer)
        scaler.update()
        optimizer.zero_grad()
        state = scaler.state_dict()
        rows.append(f"{int(overflow)} {state['scale']:.17g} {state['_growth_tracker']}")
    return rows


def main():
    os.makedirs(os.path.join(HERE, "data"), exist_ok=True)
    for net, make in (("mlp", Mlp), ("cnn", Cnn)):
        for optimizer in OPTIMIZERS:
            safetensors.write(os.path.join(HERE, "data", f"{net}_{optimizer}.safetensors"), trajectory(make, optimizer))
    draw = random.Random(3)
    with open(os.path.join(HERE, "data", "scaler.txt"), "w") as file:
        file.write(f"# torch.amp.GradScaler of PyTorch {torch.__version__}: found_inf, scale, tracker after each step\n")
        for interval, share in ((1, 0.5), (3, 0.2), (5, 0.1)):
            file.write(f"interval {interval}\n")
            file.write("\n".join(scaler_rows(interval, [draw.random() < share for _ in range(40)])) + "\n")


main()
