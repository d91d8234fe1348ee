"""The full-size pair of towers against PyTorch, once, with figures.

    python -m tests.models.full_size_parity

Prints, for ResNet-101 on images and ResNet-50 on log-mels, the largest absolute
differences of embeddings and logits, and how far each side's float32 is from
PyTorch's float64.
"""

import copy

import numpy as np
import torch

from tests.models.test_conversion import AUDIO, IMAGE, nchw, pair


def main():
    """Prints a table."""
    print("| tower | of | largest | difference | ours − float64 | PyTorch − float64 |")
    print("| :-- | :-- | --: | --: | --: | --: |")
    for name, kind, depth, outputs in (
        ("image, ResNet-101", IMAGE, 101, 30),
        ("audio, ResNet-50", AUDIO, 50, 527),
    ):
        model, made, _, tower, x = pair(kind, depth, 64, outputs)
        exact = copy.deepcopy(model).double()
        with torch.no_grad():
            theirs = [model.embed(nchw(x)), model(nchw(x))]
            true = [exact.embed(nchw(x).double()), exact(nchw(x).double())]
        embedding = np.asarray(tower.predict(x, verbose=0))
        ours = [embedding, embedding @ made["head/kernel"] + made["head/bias"]]
        for label, a, b, c in zip(
            ("embedding", "logits"), ours, theirs, true, strict=True
        ):
            b, c = b.numpy(), c.numpy()
            figures = np.abs(b).max(), *(np.abs(d).max() for d in (a - b, a - c, b - c))
            shown = f"{figures[0]:.2f} | " + " | ".join(f"{f:.1e}" for f in figures[1:])
            print(f"| {name} | {label} | {shown} |")


if __name__ == "__main__":
    main()
