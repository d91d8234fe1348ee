"""Writes small synthetic data sets: pairs in ADVANCE's layout and tagged clips."""

import pathlib
from collections.abc import Sequence

import numpy as np
import soundfile
import tensorflow as tf
from tqdm import tqdm

from advance_tf import labels
from advance_tf.data.layout import NOTICE
from advance_tf.data.synthetic import images, sounds
from advance_tf.data.tagged_clips import TAGS, write_tags

# First line of NOTICE.txt, which reports show.
LABEL = (
    "synthetic data: drawn textures and synthesized sounds, no evidence about ADVANCE"
)


def _write_sound(
    path: pathlib.Path, events: Sequence[str], rng: np.random.Generator
) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    wave = sounds.synthesize(events, rng)
    soundfile.write(path, wave, sounds.RATE_HZ, subtype="PCM_16")


def write_pairs(
    data_dir: str | pathlib.Path,
    sites_per_scene: int = 10,
    seed: int = 0,
    *,
    progress: bool = True,
) -> int:
    """Writes a synthetic data set in ADVANCE's layout, two pairs per site.

    Both pairs of a site have the same events, as have the shifted images of one
    location in ADVANCE: a split by pair leaks here too.

    Args:
        data_dir: folder to write vision/, sound/ and NOTICE.txt to; created if it
            does not exist.
        sites_per_scene: number of sites of each of the 13 scenes.
        seed: seed of images and sounds.
        progress: show a progress bar.

    Returns:
        The number of pairs.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     count = write_pairs(folder, sites_per_scene=1, progress=False)
        ...     names = sorted(path.name for path in pathlib.Path(folder).iterdir())
        >>> count, names
        (26, ['NOTICE.txt', 'sound', 'vision'])
    """
    root = pathlib.Path(data_dir)
    root.mkdir(parents=True, exist_ok=True)
    (root / NOTICE).write_text(LABEL + "\n", encoding="utf-8")
    scenes = [scene for scene in labels.scenes() for _ in range(sites_per_scene)]
    bar = tqdm(
        scenes, "synthetic sites", unit="site", disable=None if progress else True
    )
    for site, scene in enumerate(bar):
        rng = np.random.default_rng((seed, site))
        events = sounds.draw_events(scene, rng)
        for suffix in ("", "_1"):
            stem = f"{site:05d}{suffix}"
            image = root / "vision" / scene / f"{stem}.jpg"
            image.parent.mkdir(parents=True, exist_ok=True)
            encoded = tf.io.encode_jpeg(images.paint(scene, rng), quality=90)
            image.write_bytes(encoded.numpy())
            _write_sound(root / "sound" / scene / f"{stem}.wav", events, rng)
    return 2 * len(scenes)


def write_tagged_clips(
    folder: str | pathlib.Path,
    clips: int = 300,
    seed: int = 1,
    *,
    progress: bool = True,
) -> None:
    """Writes synthesized clips and their events, to pretrain an audio tower.

    Args:
        folder: folder to write the WAV files and tags.csv to (columns clip and
            labels; the labels are mids, separated by commas); created if it does not
            exist.
        clips: number of clips.
        seed: seed of the sounds; it should differ from that of the pairs, so that the
            clips do too.
        progress: show a progress bar.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     write_tagged_clips(folder, clips=2, progress=False)
        ...     sorted(path.name for path in pathlib.Path(folder).iterdir())
        ['clip_0000.wav', 'clip_0001.wav', 'tags.csv']
    """
    root = pathlib.Path(folder)
    mids = {event.name: event.mid for event in labels.events()}
    rows = []
    for index in tqdm(
        range(clips), "tagged clips", unit="clip", disable=None if progress else True
    ):
        rng = np.random.default_rng((seed, index))
        names = list(sounds.SYNTHESES)
        events = list(rng.choice(names, rng.integers(1, 4), replace=False))
        name = f"clip_{index:04d}.wav"
        _write_sound(root / name, events, rng)
        rows.append((name, ",".join(mids[event] for event in events)))
    write_tags(root / TAGS, rows)
