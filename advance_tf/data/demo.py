"""The embedded default: a small synthetic data set in ADVANCE's layout."""

import csv
import pathlib

import numpy as np
import soundfile
import tensorflow as tf
from tqdm import tqdm

from advance_tf import labels
from advance_tf.data import demo_images, demo_sounds
from advance_tf.data.notice import NOTICE

LABEL = (
    "synthetic data: drawn textures and synthesized sounds, no evidence about ADVANCE"
)
TAGS = "tags.csv"


def _write_sound(path: pathlib.Path, events, rng) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    wave = demo_sounds.synthesize(events, rng)
    soundfile.write(path, wave, demo_sounds.RATE_HZ, subtype="PCM_16")


def write_pairs(
    data_dir: pathlib.Path, sites_per_scene: int = 10, seed: int = 0
) -> int:
    """Writes the synthetic pairs, two of every site.

    Both pairs of a site share its events and its ground, as the shifted images
    of ADVANCE do, so that a split by pair would leak here too.

    Args:
        data_dir: folder to write vision/, sound/ and NOTICE.txt to.
        sites_per_scene: number of sites of each of the 13 scenes.
        seed: of everything that is drawn.

    Returns:
        The number of pairs.
    """
    data_dir.mkdir(parents=True, exist_ok=True)
    (data_dir / NOTICE).write_text(LABEL + "\n", encoding="utf-8")
    sites = [(s, n) for s in labels.scenes() for n in range(sites_per_scene)]
    for site, (scene, _) in enumerate(tqdm(sites, "synthetic sites", unit="site")):
        rng = np.random.default_rng((seed, site))
        events = demo_sounds.draw_events(scene, rng)
        for suffix in ("", "_1"):
            stem = f"{site:05d}{suffix}"
            image = data_dir / "vision" / scene / f"{stem}.jpg"
            image.parent.mkdir(parents=True, exist_ok=True)
            encoded = tf.io.encode_jpeg(demo_images.paint(scene, rng), quality=90)
            image.write_bytes(encoded.numpy())
            _write_sound(data_dir / "sound" / scene / f"{stem}.wav", events, rng)
    return 2 * len(sites)


def write_tagged_clips(folder: pathlib.Path, clips: int = 300, seed: int = 1) -> None:
    """Writes synthesized clips with their events, to train the teacher on.

    Args:
        folder: gets the WAV files and tags.csv (columns clip, labels; the
            labels of a clip are mids with commas between them).
        clips: how many.
        seed: another than that of the pairs, so that no clip is among them.
    """
    mids = {event.name: event.mid for event in labels.events()}
    rows = []
    for index in tqdm(range(clips), "tagged clips", unit="clip"):
        rng = np.random.default_rng((seed, index))
        names = list(demo_sounds.SYNTHESES)
        events = list(rng.choice(names, rng.integers(1, 4), replace=False))
        name = f"clip_{index:04d}.wav"
        _write_sound(folder / name, events, rng)
        rows.append([name, ",".join(mids[event] for event in events)])
    with (folder / TAGS).open("w", newline="", encoding="utf-8") as file:
        csv.writer(file, lineterminator="\n").writerows([["clip", "labels"], *rows])
