"""Makes the numbers that recipes.py compares with: recipes_reference.py, with PyTorch installed.

Each function is a training recipe as PyTorch's AMP examples write it, run with torch.autocast and torch.amp.GradScaler
on the CPU in float16, or an emulation of it (losses
are computed in float32, as autocast does on CUDA). It writes data/recipes/NAME.safetensors:
the data of every step, the initial weights, and after every step losses, weights, scales and the number of steps that
each optimizer has taken. Some steps hold an element of 1e6, which no float16 can hold.

Run it again only to add a case: the files are committed, and the tests do not need PyTorch.
"""
import os
import warnings

import torch
from torch import nn
from torch.nn import functional as F

import safetensors

HERE = os.path.dirname(os.path.abspath(__file__))
STEPS = 10
BATCH = 16
warnings.filterwarnings("ignore")


class Recorder:
    """Tensors by name; what the recipe puts in after a step gets the step's number."""

    def __init__(self, seed, overflows, **shapes):
        torch.manual_seed(seed)
        self.tensors, self.step, self.overflows, self.shapes = {}, -1, overflows, shapes

    def put(self, name, value):
        if not isinstance(value, torch.Tensor):
            value = torch.tensor(float(value))
        element = "I32" if value.dtype in (torch.int32, torch.int64) else "F32"
        self.tensors[name] = (element, list(value.shape), value.detach().flatten().tolist())

    def begin(self, models):
        """Initial weights, under the names of the .net file: `models` maps prefixes to modules."""
        self.models = models
        for name, parameter in self.parameters():
            self.put("start/" + name, parameter)

    def parameters(self):
        for prefix, model in self.models.items():
            for name, parameter in model.named_parameters():
                yield prefix + name, parameter

    def batches(self):
        for self.step in range(STEPS):
            batch = []
            for name, shape in self.shapes.items():
                value = torch.randint(0, shape, (BATCH,)) if isinstance(shape, int) else torch.randn(BATCH, *shape)
                if self.step in self.overflows and name == "x":
                    value.view(-1)[5] = 1e6
                self.put(f"feed/{self.step}/{name}", value)
                batch.append(value)
            yield batch

    def end(self, losses, scales, optimizers):
        for name, value in losses.items():
            self.put(f"loss/{self.step}/{name}", value)
        for name, value in scales.items():
            self.put(f"after/{self.step}/{name}", value.get_scale() if hasattr(value, "get_scale") else value)
        for name, count in optimizers.items():
            self.put(f"after/{self.step}/{name}", torch.tensor(count, dtype=torch.int32))
        for name, parameter in self.parameters():
            self.put(f"after/{self.step}/{name}", parameter)

    def write(self, name):
        safetensors.write(os.path.join(HERE, "data", "recipes", name + ".safetensors"), self.tensors)


def half():
    return torch.autocast("cpu", dtype=torch.float16)


def scaler_of(init, interval):
    return torch.amp.GradScaler("cpu", init_scale=float(init), growth_interval=interval)


class Perceptron(nn.Module):
    def __init__(self, inputs, hidden, outputs):
        super().__init__()
        self.fc1, self.fc2 = nn.Linear(inputs, hidden), nn.Linear(hidden, outputs)

    def forward(self, x):
        return self.fc2(torch.relu(self.fc1(x)))


class Product(torch.autograd.Function):
    """A linear layer in float16 whose weight gradients are summed and kept in float32, as Castor has them: a float16
    weight gradient, which torch.autocast makes, overflows earlier. Needed where it matters who overflows when."""

    @staticmethod
    def forward(context, x, weight, bias):
        x, weight = x.half().float(), weight.half().float()
        context.save_for_backward(x, weight)
        return (x @ weight.t() + bias).half()

    @staticmethod
    def backward(context, dy):
        x, weight = context.saved_tensors
        dy = dy.float()
        return (dy @ weight).half() if context.needs_input_grad[0] else None, dy.t() @ x, dy.sum(0)


class Emulated(Perceptron):
    def forward(self, x):
        hidden = torch.relu(Product.apply(x, self.fc1.weight, self.fc1.bias))
        return Product.apply(hidden, self.fc2.weight, self.fc2.bias)


class Counted:
    """An optimizer that counts the steps that a GradScaler lets it take."""

    def __init__(self, optimizer):
        self.count, step = 0, optimizer.step

        def counting(*arguments, **named):
            self.count += 1
            return step(*arguments, **named)

        optimizer.step = counting
        self.optimizer = optimizer


def plain():
    record = Recorder(1, {3, 7}, x=(8,), label=4)
    model = Perceptron(8, 12, 4)
    record.begin({"": model})
    counted = Counted(torch.optim.SGD(model.parameters(), 0.1, momentum=0.9))
    scaler = scaler_of(65536, 4)
    for x, label in record.batches():
        counted.optimizer.zero_grad()
        with half():
            output = model(x)
        loss = F.cross_entropy(output.float(), label)
        scaler.scale(loss).backward()
        scaler.step(counted.optimizer)
        scaler.update()
        record.end({"loss": loss}, {"train/scale": scaler}, {"train/step": counted.count})
    record.write("plain")


def clip():
    record = Recorder(2, {2}, x=(8,), label=4)
    model = Perceptron(8, 12, 4)
    record.begin({"": model})
    counted = Counted(torch.optim.SGD(model.parameters(), 0.5))
    scaler = scaler_of(65536, 4)
    for x, label in record.batches():
        counted.optimizer.zero_grad()
        with half():
            output = model(x)
        loss = F.cross_entropy(output.float(), label)
        scaler.scale(loss).backward()
        scaler.unscale_(counted.optimizer)
        torch.nn.utils.clip_grad_norm_(model.parameters(), 0.25)
        scaler.step(counted.optimizer)
        scaler.update()
        record.end({"loss": loss}, {"train/scale": scaler}, {"train/step": counted.count})
    record.write("clip")


def accumulate():
    record = Recorder(3, {4}, x=(8,), label=4)
    model = Perceptron(8, 12, 4)
    record.begin({"": model})
    counted = Counted(torch.optim.SGD(model.parameters(), 0.5, momentum=0.5))
    scaler = scaler_of(65536, 4)
    for x, label in record.batches():
        counted.optimizer.zero_grad()
        for part in range(4):
            with half():
                output = model(x[part * 4:part * 4 + 4])
            loss = F.cross_entropy(output.float(), label[part * 4:part * 4 + 4]) / 4
            scaler.scale(loss).backward()
        scaler.unscale_(counted.optimizer)
        torch.nn.utils.clip_grad_norm_(model.parameters(), 0.5)
        scaler.step(counted.optimizer)
        scaler.update()
        record.end({}, {"train/scale": scaler}, {"train/step": counted.count})
    record.write("accumulate")


class Tanh(nn.Module):
    def __init__(self):
        super().__init__()
        self.w1, self.w2 = nn.Parameter(torch.randn(12, 8) / 3), nn.Parameter(torch.randn(4, 12) / 3)

    def forward(self, x):
        return torch.tanh(x @ self.w1.t()) @ self.w2.t()


def penalty():
    record = Recorder(4, {5}, x=(8,), label=4)
    model = Tanh()
    record.begin({"": model})
    counted = Counted(torch.optim.SGD(model.parameters(), 0.1))
    scaler = scaler_of(65536, 4)
    for x, label in record.batches():
        counted.optimizer.zero_grad()
        with half():
            output = model(x)
        error = F.cross_entropy(output.float(), label)
        scaled = torch.autograd.grad(scaler.scale(error), list(model.parameters()), create_graph=True)
        gradients = [g * (1.0 / scaler.get_scale()) for g in scaled]
        norm = sum(g.pow(2).sum() for g in gradients).sqrt()
        loss = error + norm
        scaler.scale(loss).backward()
        scaler.step(counted.optimizer)
        scaler.update()
        record.end({"loss": loss, "error": error, "penalty": norm}, {"train/scale": scaler},
                   {"train/step": counted.count})
    record.write("penalty")


def several():
    record = Recorder(5, {6}, x=(8,), y=(8,), target=(4,))
    model0, model1 = Emulated(8, 12, 4), Emulated(8, 12, 4)
    record.begin({"model0.": model0, "model1.": model1})
    first = Counted(torch.optim.SGD(model0.parameters(), 0.005))
    second = Counted(torch.optim.SGD(model1.parameters(), 0.002, momentum=0.9))
    scaler = scaler_of(131072, 2)
    for x, y, target in record.batches():
        first.optimizer.zero_grad()
        second.optimizer.zero_grad()
        a, b = model0(x), model1(y)
        one, two = 2 * a + 3 * b, 3 * a - 5 * b
        loss0 = F.mse_loss(one.float(), target)
        loss1 = F.mse_loss(two.float(), target)
        scaler.scale(loss0 + loss1).backward()  # the example's two backward passes add up the same in the parameters
        scaler.unscale_(first.optimizer)
        scaler.step(first.optimizer)
        scaler.step(second.optimizer)
        scaler.update()
        record.end({"loss0": loss0, "loss1": loss1}, {"train/scale": scaler},
                   {"train/step": first.count, "train/step.2": second.count})
    record.write("several")


def scales():
    record = Recorder(6, {8}, x=(8,), y=(8,), label=4)
    large, small = Emulated(8, 12, 4), Emulated(8, 12, 4)
    record.begin({"large.": large, "small.": small})
    first = Counted(torch.optim.SGD(large.parameters(), 0.001))
    second = Counted(torch.optim.SGD(small.parameters(), 4.0))
    scaler1, scaler2 = scaler_of(65536, 3), scaler_of(65536, 3)
    for x, y, label in record.batches():
        losses = {}
        for name, model, data, counted, scaler, weight in (("large_loss", large, x, first, scaler1, 64.0),
                                                           ("small_loss", small, y, second, scaler2, 1 / 64)):
            counted.optimizer.zero_grad()
            losses[name] = weight * F.cross_entropy(model(data).float(), label)
            scaler.scale(losses[name]).backward()
            scaler.step(counted.optimizer)
            scaler.update()
        record.end(losses, {"train/large_loss.scale": scaler1, "train/small_loss.scale": scaler2},
                   {"train/step": first.count, "train/step.2": second.count})
    record.write("scales")


def scaler():
    """A rule of one's own through update(new_scale): a quarter after an overflow, else 1024 more."""
    record = Recorder(7, {2, 3, 8}, x=(8,), label=4)
    model = Perceptron(8, 12, 4)
    record.begin({"": model})
    counted = Counted(torch.optim.SGD(model.parameters(), 0.1))
    scaler = scaler_of(32768, 1000)
    for x, label in record.batches():
        counted.optimizer.zero_grad()
        with half():
            output = model(x)
        loss = F.cross_entropy(output.float(), label)
        scaler.scale(loss).backward()
        before = counted.count
        scaler.step(counted.optimizer)
        scale = scaler.get_scale()
        scaler.update(max(scale / 4, 1.0) if counted.count == before else scale + 1024)
        record.end({"loss": loss}, {"train/scale": scaler}, {"train/step": counted.count})
    record.write("scaler")


def ema():
    record = Recorder(8, {0, 4}, x=(8,), label=4)
    model = Perceptron(8, 12, 4)
    record.begin({"": model})
    counted = Counted(torch.optim.SGD(model.parameters(), 0.1))
    average = torch.optim.swa_utils.AveragedModel(model,
                                                  multi_avg_fn=torch.optim.swa_utils.get_ema_multi_avg_fn(0.75))
    scaler = scaler_of(65536, 4)
    for x, label in record.batches():
        counted.optimizer.zero_grad()
        with half():
            output = model(x)
        loss = F.cross_entropy(output.float(), label)
        scaler.scale(loss).backward()
        before = counted.count
        scaler.step(counted.optimizer)
        scaler.update()
        if counted.count > before:
            average.update_parameters(model)
        averages = {f"train/{name}.average": value for name, value in average.module.named_parameters()}
        record.end({"loss": loss}, {"train/scale": scaler, **averages}, {"train/step": counted.count})
    record.write("ema")


def alternate():
    record = Recorder(9, {5}, x=(8,), noise=(4,))
    maker, critic = Perceptron(4, 12, 8), Perceptron(8, 12, 1)
    record.begin({"maker.": maker, "critic.": critic})
    first = Counted(torch.optim.SGD(critic.parameters(), 0.2, momentum=0.5))
    second = Counted(torch.optim.SGD(maker.parameters(), 0.1))
    scaler = scaler_of(65536, 4)
    for x, noise in record.batches():
        first.optimizer.zero_grad()
        with half():
            fake = maker(noise)
            truth, guess = critic(x), critic(fake.detach())
        critic_loss = F.softplus(-truth.float()).mean() + F.softplus(guess.float()).mean()
        scaler.scale(critic_loss).backward()
        scaler.step(first.optimizer)
        second.optimizer.zero_grad()
        with half():
            guess = critic(fake)
        maker_loss = F.softplus(-guess.float()).mean()
        if record.step % 3 == 2:
            scaler.scale(maker_loss).backward()
            scaler.step(second.optimizer)
        scaler.update()
        record.end({"critic_loss": critic_loss, "maker_loss": maker_loss}, {"train/scale": scaler},
                   {"train/step": first.count, "train/step.2": second.count})
    record.write("alternate")


def main():
    os.makedirs(os.path.join(HERE, "data", "recipes"), exist_ok=True)
    torch.set_num_threads(1)
    for recipe in (plain, clip, accumulate, penalty, several, scales, scaler, ema, alternate):
        recipe()


main()
