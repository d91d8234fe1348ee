"""Pages of a data set that was built from places: its map, and the review of labels."""

import hashlib
import json
import os
import pathlib
import urllib.parse
from collections.abc import Mapping, Sequence

from advance_tf import labels
from advance_tf.data.layout import read_notice
from advance_tf.data.pairing import Pair
from advance_tf.data.places import read_places
from advance_tf.files import replacing
from advance_tf.geo.projection import longitude_range
from advance_tf.geo.provenance import PROVENANCE, read_provenance
from advance_tf.geo.results import PlaceResult
from advance_tf.inference.prediction import OK, rank
from advance_tf.metrics.evaluation import Evaluation
from advance_tf.reporting.map_page import (
    Background,
    PlaceMap,
    clip_uri,
    environment,
    picture_uri,
    place_map,
    script_json,
    write_map,
)

REVIEW, MAP = "review.html", "map.html"
_TEMPLATE = "review.html.j2"
_IMAGE_PIXELS = 512
_EVENTS = 5
_OSM = "Scenes: © OpenStreetMap contributors (ODbL)."


def _provenance(data_dir: pathlib.Path) -> dict[str, dict[str, str]]:
    rows = read_provenance(data_dir / PROVENANCE)
    if not rows:
        raise ValueError(
            f"{data_dir} must have {PROVENANCE} with at least one pair. Build the data "
            "set with `advance build-dataset`."
        )
    return rows


def write_dataset_map(
    data_dir: str | pathlib.Path,
    output: str | pathlib.Path | None = None,
    *,
    background: Background | None = None,
    media_limit: int = 100,
) -> PlaceMap:
    """Writes the map of a data set.

    Args:
        data_dir: folder that `build_dataset` wrote.
        output: HTML file; None for map.html in the folder.
        background: an image below the places.
        media_limit: number of places with image and sound in the page.

    Returns:
        The data of the map.

    Raises:
        ValueError: the folder has no provenance.csv.
    """
    data_dir = pathlib.Path(data_dir)
    rows = _provenance(data_dir)
    results, notes = [], []
    for stem, row in rows.items():
        scene = row["scene"]
        results.append(
            PlaceResult(
                *(stem, OK, float(row["latitude"]), float(row["longitude"])),
                scene=scene,
                image=f"vision/{scene}/{stem}.jpg",
                sound=f"sound/{scene}/{stem}.wav",
            )
        )
        credit = ", ".join(filter(None, (row["author"], row["license"])))
        shifted = f", shifted to the {row['shift']}" if row["shift"] else ""
        notes.append([f"{row['recording']}{shifted}", credit, f"site {row['site']}"])
    sites = {row["site"] for row in rows.values()}
    return write_map(
        results,
        output or data_dir / MAP,
        title=f"Places of {data_dir.resolve().name}",
        chips={"sites": str(len(sites))},
        notice=read_notice(data_dir),
        credits=_OSM,
        background=background,
        media_limit=media_limit,
        media_folder=data_dir,
        notes=[[line for line in lines if line] for lines in notes],
    )


def evaluation_map(
    data_dir: str | pathlib.Path,
    evaluation: Evaluation,
    pairs: Sequence[Pair] = (),
    *,
    media_limit: int = 30,
) -> PlaceMap | None:
    """The map of an evaluation, for the report of a run.

    Args:
        data_dir: folder of the data set.
        evaluation: evaluation of a run on a split of it.
        pairs: pairs of the split, whose images and sounds are in the page.
        media_limit: number of places with image and sound in the page.

    Returns:
        The predicted scene of each pair at its place; None for a data set without
        sites.csv.

    Raises:
        ValueError: sites.csv is not valid.
    """
    data_dir = pathlib.Path(data_dir)
    found = read_places(data_dir)
    files = {pair.stem: pair for pair in pairs}
    results, notes = [], []
    for row, stem in enumerate(evaluation.stems):
        if stem not in found:
            continue
        probs = evaluation.scene_probs[row]
        predicted = evaluation.scenes[evaluation.predicted[row]]
        true = evaluation.scenes[evaluation.true[row]]
        results.append(
            PlaceResult(
                *(stem, OK, found[stem].latitude, found[stem].longitude),
                scene=predicted,
                confidence=float(probs.max()),
                probabilities=dict(zip(evaluation.scenes, probs.tolist(), strict=True)),
                events=_events(evaluation, row),
                image=files[stem].image if stem in files else "",
                sound=files[stem].sound if stem in files else "",
            )
        )
        right = "correct" if predicted == true else f"wrong, the label is {true}"
        notes.append([f"{right}; site {found[stem].site}"])
    if not results:
        return None
    return place_map(
        results, media_limit=media_limit, media_folder=data_dir, notes=notes
    )


def _events(evaluation: Evaluation, row: int) -> tuple[tuple[str, float], ...]:
    """The most probable events of a pair, none without event probabilities."""
    if evaluation.event_probs is None:
        return ()
    names = [event.name for event in labels.events()]
    return rank(names, evaluation.event_probs[row])[:_EVENTS]


def write_review(
    data_dir: str | pathlib.Path,
    output: str | pathlib.Path | None = None,
    *,
    media_limit: int = 200,
) -> int:
    """Writes the page on which a person checks the labels of a data set.

    The page shows one pair at a time with its evidence, and saves the decisions as
    corrections.csv, which `read_corrections` reads.

    Args:
        data_dir: folder that `build_dataset` wrote.
        output: HTML file; None for review.html in the folder.
        media_limit: with at most so many pairs, images and sounds are in the page;
            with more the page refers to the files of the folder.

    Returns:
        The number of pairs.

    Raises:
        ValueError: the folder has no provenance.csv.
    """
    data_dir = pathlib.Path(data_dir)
    rows = _provenance(data_dir)
    output = pathlib.Path(output or data_dir / REVIEW)
    # The page refers to files by URLs relative to itself.
    base = None
    if len(rows) > media_limit:
        base = pathlib.Path(os.path.relpath(data_dir, output.parent))
    pairs = [_pair(data_dir, stem, row, base) for stem, row in rows.items()]
    latitudes = [float(row["latitude"]) for row in rows.values()]
    west, east = longitude_range([float(row["longitude"]) for row in rows.values()])
    identity = "\n".join(f"{stem} {row['recording']}" for stem, row in rows.items())
    data = {
        "pairs": pairs,
        "scenes": labels.scenes(),
        "colors": labels.SCENE_COLORS,
        "bounds": (west, min(latitudes), east, max(latitudes)),
        # Decisions that the browser keeps belong to this data set.
        "key": hashlib.sha256(identity.encode()).hexdigest()[:16],
    }
    page = environment().get_template(_TEMPLATE)
    values = {
        "title": data_dir.resolve().name,
        "pairs": len(pairs),
        "scenes": labels.scenes(),
        "data": script_json(data),
    }
    with replacing(output) as temporary:
        temporary.write_text(page.render(values), encoding="utf-8")
    return len(pairs)


def _pair(
    data_dir: pathlib.Path, stem: str, row: Mapping[str, str], base: pathlib.Path | None
) -> dict[str, object]:
    """The values of a pair on the review page.

    Image and sound are relative URLs that begin with `base`, or without it data URIs.
    """
    image = f"vision/{row['scene']}/{stem}.jpg"
    sound = f"sound/{row['scene']}/{stem}.wav"
    if base is None:
        image = picture_uri(data_dir, image, _IMAGE_PIXELS)
        sound = clip_uri(data_dir, sound)
    else:
        image, sound = (
            urllib.parse.quote((base / name).as_posix()) for name in (image, sound)
        )
    return {
        "stem": stem,
        "recording": row["recording"],
        "shift": row["shift"],
        "scene": row["scene"],
        "rule": row["label_rule"],
        "lat": float(row["latitude"]),
        "lon": float(row["longitude"]),
        "date": row["image_date"],
        "evidence": json.loads(row["evidence"]),
        "image": image,
        "sound": sound,
    }
