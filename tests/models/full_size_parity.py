"""Compares the towers of the paper with PyTorch and prints the differences.

    python -m tests.models.full_size_parity

For ResNet-101 on images and ResNet-50 on log-mels, the table has the largest absolute
differences of embeddings and logits between the libraries, and between the float32 of
each library and the float64 of PyTorch.
"""

import copy

import numpy as np
import torch

from tests.models.torch_resnet import AUDIO, IMAGE, convert_pair, to_nchw


def main():
    """Prints the table."""
    print("| tower | of | largest | difference | Keras − float64 | PyTorch − float64 |")
    print("| :-- | :-- | --: | --: | --: | --: |")
    for name, kind, depth, outputs in (
        ("image, ResNet-101", IMAGE, 101, 30),
        ("audio, ResNet-50", AUDIO, 50, 527),
    ):
        model, converted, _, tower, x = convert_pair(kind, depth, 64, outputs)
        exact = copy.deepcopy(model).double()
        with torch.no_grad():
            torch_outputs = [model.embed(to_nchw(x)), model(to_nchw(x))]
            exact_outputs = [
                exact.embed(to_nchw(x).double()),
                exact(to_nchw(x).double()),
            ]
        embedding = np.asarray(tower.predict(x, verbose=0))
        logits = embedding @ converted["head/kernel"] + converted["head/bias"]
        for label, a, b, c in zip(
            ("embedding", "logits"),
            (embedding, logits),
            torch_outputs,
            exact_outputs,
            strict=True,
        ):
            b, c = b.numpy(), c.numpy()
            figures = np.abs(b).max(), *(np.abs(d).max() for d in (a - b, a - c, b - c))
            shown = f"{figures[0]:.2f} | " + " | ".join(f"{f:.1e}" for f in figures[1:])
            print(f"| {name} | {label} | {shown} |")


if __name__ == "__main__":
    main()
