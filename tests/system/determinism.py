"""Same seed and threads give the same bytes; the formatter leaves the models as they are."""
import os
import tempfile

from castor import MODELS, ROOT, castor, check, finish


IMAGES = ("synthetic(examples = 384, test = 40, image = uniform(0, 255), label = classes)"
          " |> random_crop(2) |> random_flip")


def bytes_of(path):
    with open(path, "rb") as file:
        return file.read()


for model in MODELS:
    with open(os.path.join(ROOT, model)) as file:
        check(castor("fmt", model) == file.read(), f"fmt changes {model}")
    castor("check", model)
    check(castor("dump", model, "--emit", "c") == castor("dump", model, "--emit", "c"), f"{model}: emitted code differs")
    with tempfile.TemporaryDirectory() as folder:
        runs = [os.path.join(folder, name) for name in "ab"]
        for run in runs:
            # The f16 forward pass of overflow.net overflows, as it is meant to: its loss is no number.
            diverges = 4 if os.path.basename(model) == "overflow.net" else 0
            castor("train", model, "--data", IMAGES, "--steps", "12", "--batch", "32", "--out", run, "--quiet",
                   code=diverges)
        first, second = (bytes_of(os.path.join(run, "last.safetensors")) for run in runs)
        check(len(first) > 10000 and first == second, f"{model}: two runs end in different weights")
finish()
