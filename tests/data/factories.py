"""Factories of files and pairs for the tests of this folder."""

import pathlib
from collections.abc import Iterable

from advance_tf.data import pairing


def write_files(
    root: pathlib.Path, *names: str, contents: bytes = b"some bytes"
) -> None:
    """Writes each named file below `root`."""
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(contents)


def write_pair_files(root: pathlib.Path, *keys: str) -> None:
    """Writes an image and a sound for each "<scene>/<stem>"."""
    for key in keys:
        write_files(root, f"vision/{key}.jpg", f"sound/{key}.wav")


def create_pairs(stems: dict[str, Iterable[str]]) -> list[pairing.Pair]:
    """The pairs of scene → stems, without files."""
    return [
        pairing.Pair(
            stem,
            scene,
            pairing.site_of(stem),
            f"vision/{scene}/{stem}.jpg",
            f"sound/{scene}/{stem}.wav",
        )
        for scene in sorted(stems)
        for stem in sorted(stems[scene])
    ]
