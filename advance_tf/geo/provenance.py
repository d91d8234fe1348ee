"""The provenance of each pair of a data set: provenance.csv."""

import csv
import json
import pathlib
from typing import Any

from advance_tf.files import join_names
from advance_tf.geo.plan import PlannedPair

PROVENANCE = "provenance.csv"
PROVENANCE_COLUMNS = (
    *("stem", "scene", "site", "recording", "recording_seconds", "recording_sha256"),
    *("latitude", "longitude", "shift", "cut_seed", "label_rule", "evidence"),
    *("image_source", "image_date", "ground_resolution_metres"),
    *("license", "author", "source"),
)


def provenance_row(one: PlannedPair, recording_sha256: str) -> dict[str, str]:
    """The row of a pair in provenance.csv.

    Args:
        one: the pair.
        recording_sha256: SHA-256 of the recording.

    Returns:
        Column → text.
    """
    values: tuple[Any, ...] = (
        *(one.pair.stem, one.pair.scene, one.pair.site, one.recording.name),
        *(f"{one.seconds:.3f}", recording_sha256),
        *(f"{one.latitude:.7f}", f"{one.longitude:.7f}", one.shift, one.cut_seed),
        *(one.label.rule, json.dumps(one.label.evidence, ensure_ascii=False)),
        *(one.imagery.source, one.imagery.date),
        f"{one.imagery.resolution_metres:.3f}",
        *(one.recording.license, one.recording.author, one.recording.source),
    )
    return dict(zip(PROVENANCE_COLUMNS, map(str, values), strict=True))


def read_provenance(path: str | pathlib.Path) -> dict[str, dict[str, str]]:
    """Reads provenance.csv.

    Args:
        path: the file.

    Returns:
        Stem → column → text; empty without the file.

    Raises:
        ValueError: the file lacks a column.
    """
    path = pathlib.Path(path)
    if not path.exists():
        return {}
    with path.open(newline="", encoding="utf-8") as file:
        reader = csv.DictReader(file)
        lacking = set(PROVENANCE_COLUMNS) - set(reader.fieldnames or ())
        if lacking:
            raise ValueError(
                f"{path} must be written by `advance build-dataset`; it lacks the "
                f"columns {join_names(sorted(lacking))}."
            )
        return {row["stem"]: row for row in reader}
