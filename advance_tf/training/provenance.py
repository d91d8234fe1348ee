"""Where a run comes from, and the encoded pairs that its exports are checked on."""

import json
import pathlib
from collections import Counter
from collections.abc import Callable
from typing import Any

from advance_tf import config as config_module
from advance_tf import labels
from advance_tf.data.layout import Pair
from advance_tf.data.splits import spread_over_scenes
from advance_tf.models.weights import file_sha256
from advance_tf.training.callbacks import BEST_WEIGHTS
from advance_tf.training.workdir import Run, versions

_METRICS = "evaluation/test/metrics.json"


def describe(run: Run) -> dict[str, Any]:
    """What a model card says of a run.

    Args:
        run: loaded.

    Returns:
        config, data, metrics (None before `evaluate`) and weights_sha256.
    """
    manifest, path = run.manifest, run.workdir / _METRICS
    data: dict[str, Any] = {"data set": run.label or "as configured"}
    if manifest is not None:
        counts = Counter(manifest.splits)
        data |= {f"pairs of {split}": number for split, number in counts.items()}
        data["split by"] = manifest.protocol
        data["SHA-256 of the manifest"] = manifest.sha256
    data |= {f"version of {name}": version for name, version in versions().items()}
    metrics = None
    if path.exists():
        metrics = json.loads(path.read_text(encoding="utf-8"))
    return {
        "config": config_module.to_dict(run.config),
        "data": data,
        "metrics": metrics,
        "weights_sha256": file_sha256(run.workdir / BEST_WEIGHTS),
    }


class Media:
    """Encoded pairs of a run.

    Args:
        run: loaded.
        data_dir: folder of its data set.
        make: from the bytes of an image and of a sound to a pair.
    """

    def __init__(
        self,
        run: Run,
        data_dir: str | pathlib.Path,
        make: Callable[[bytes, bytes], Any],
    ):
        self._run = run
        self._folder = pathlib.Path(data_dir)
        self._make = make

    def some(self, split: str, number: int) -> list:
        """Pairs of a split, evenly over its scenes and over the list of each.

        Args:
            split: "training", "validation", "test" or "all".
            number: how many, at least 1.

        Returns:
            `number` pairs as `make` returns them, all of the split where it has
            fewer; the same at every call.

        Raises:
            ValueError: the split has no pair, or a file is missing.
        """
        pairs = spread_over_scenes(self._run.pairs_of(split), number)
        return [self._read(pair) for pair in pairs]

    def all(self, split: str) -> tuple[list, list[int]]:
        """Every pair of a split, and the index of its scene."""
        pairs = self._run.pairs_of(split)
        scenes = [labels.scenes().index(pair.scene) for pair in pairs]
        return [self._read(pair) for pair in pairs], scenes

    def _read(self, pair: Pair):
        contents = []
        for name in (pair.image, pair.sound):
            path = self._folder / name
            if not path.is_file():
                raise ValueError(
                    f"{path} must exist: an export is checked on pairs of the run's "
                    "data set. Give --data_dir where they lie now."
                )
            contents.append(path.read_bytes())
        return self._make(*contents)
