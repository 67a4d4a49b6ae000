"""Makes the reference numbers of layers.net: layers_reference.py, with PyTorch installed.

Writes data/layers.safetensors: every parameter under its name in layers.net, every value as `value.NAME`, and the gradients
of the loss, which is the sum over all differentiable values of mean(sin(value)), as `grad.NAME`. Run it again only to add a case: the
file is committed, and the tests do not need PyTorch.
"""
import os

import torch
from torch import nn
from torch.nn import functional

import safetensors

HERE = os.path.dirname(os.path.abspath(__file__))
PARAMETERS = {"image": [2, 4, 5, 6], "rows": [3, 8], "heads": [3, 2, 5, 4], "steps": [3, 5, 8], "hidden": [3, 4],
              "memory": [3, 4]}
MODULES = {"layer": nn.LayerNorm(6), "rms": nn.RMSNorm(6), "group": nn.GroupNorm(2, 4),
           "instance": nn.InstanceNorm2d(4, affine=True), "up": nn.ConvTranspose2d(4, 6, 3, stride=2, padding=1, output_padding=1),
           "up_groups": nn.ConvTranspose2d(4, 6, (2, 3), stride=(1, 3), groups=2, dilation=2, bias=False),
           "lstm_step": nn.LSTMCell(8, 4), "gru_step": nn.GRUCell(8, 4),
           "lstm_bare_step": nn.LSTMCell(8, 4, bias=False), "gru_bare_step": nn.GRUCell(8, 4, bias=False),
           "lstm_zero": nn.LSTM(8, 4, batch_first=True), "lstm_primed": nn.LSTM(8, 4, bias=False, batch_first=True)}


def values(p):
    """Every value of layers.net, from the parameters by name."""
    image, rows = p["image"], p["rows"]
    yield "layer_norm", MODULES["layer"](image)
    yield "rms_norm", MODULES["rms"](image)
    yield "group_norm", MODULES["group"](image)
    yield "group_norm_rows", functional.group_norm(rows, 2)
    yield "instance_norm", MODULES["instance"](image)
    yield "instance_norm_plain", functional.instance_norm(image)
    yield "conv_transpose", MODULES["up"](image)
    yield "conv_transpose_groups", MODULES["up_groups"](image)
    yield "adaptive_avg_pool", functional.adaptive_avg_pool2d(image, (3, 4))
    yield "adaptive_avg_pool_one", functional.adaptive_avg_pool2d(image, 1)
    yield "local_response_norm", functional.local_response_norm(image, 3)
    yield "local_response_norm_2", functional.local_response_norm(image, 2, 0.5, 0.6, 2.0)
    q, k, v = p["heads"]
    yield "attention_all", functional.scaled_dot_product_attention(q, k, v)
    yield "attention_causal", functional.scaled_dot_product_attention(q, k, v, is_causal=True)
    yield "attention_cross", functional.scaled_dot_product_attention(q[:, :2], k, v)
    steps, hidden, memory = p["steps"], p["hidden"], p["memory"]
    h, c = MODULES["lstm_step"](rows, (hidden, memory))
    yield "lstm_h", h
    yield "lstm_c", c
    yield "gru", MODULES["gru_step"](rows, hidden)
    yield "lstm_bare", MODULES["lstm_bare_step"](rows, (hidden, memory))[0]
    yield "gru_bare", MODULES["gru_bare_step"](rows, hidden)
    yield "lstm_all", MODULES["lstm_zero"](steps)[0]
    yield "lstm_from", MODULES["lstm_primed"](steps, (hidden.unsqueeze(0), memory.unsqueeze(0)))[0]
    yield "rising", image.sort(2)[0]
    yield "rising_index", image.sort(2)[1]
    yield "falling", rows.sort(descending=True)[0]
    yield "falling_index", rows.sort(descending=True)[1]
    yield "largest", rows.topk(3)[0]
    yield "largest_index", rows.topk(3)[1]
    found = rows.topk(4)[1] == steps[:, 0].argmax(1, keepdim=True)
    yield "top_k_accuracy", found.any(1).float().mean()


def put(tensors, name, tensor):
    element = "F32" if tensor.is_floating_point() else "I32"
    tensors[name] = (element, list(tensor.shape), tensor.detach().flatten().tolist())


def main():
    torch.manual_seed(5)
    torch.set_num_threads(2)
    parameters = {name: nn.Parameter(torch.randn(shape)) for name, shape in PARAMETERS.items()}
    for label, module in MODULES.items():
        for name, parameter in module.named_parameters():
            nn.init.normal_(parameter)
            parameters[f"{label}.{name}"] = parameter
    results, tensors = dict(values(parameters)), {}
    sum(result.sin().mean() for result in results.values() if result.requires_grad).backward()
    for name, parameter in parameters.items():
        put(tensors, name, parameter)
        put(tensors, "grad." + name, parameter.grad)
    for name, result in results.items():
        put(tensors, "value." + name, result)
    safetensors.write(os.path.join(HERE, "data", "layers.safetensors"), tensors)


main()
