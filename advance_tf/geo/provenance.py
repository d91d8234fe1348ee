"""The provenance of each pair of a data set: provenance.csv."""

import json
import math
import pathlib
from typing import Any

from advance_tf.csv_tables import read_table
from advance_tf.files import join_names, reading
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
        ValueError: the file lacks a column, or a row has no position or evidence.
    """
    path = pathlib.Path(path)
    if not path.exists():
        return {}
    columns, rows = read_table(path)
    lacking = set(PROVENANCE_COLUMNS) - set(columns)
    if lacking:
        raise ValueError(
            f"{path} must be written by `advance build-dataset`; it lacks the "
            f"columns {join_names(sorted(lacking))}."
        )
    found = {}
    rule = "have numbers as latitude and longitude, and evidence in JSON"
    for line, row in rows:
        with reading(f"{path}, line {line}:", rule, "Restore the file."):
            place = float(row["latitude"]), float(row["longitude"])
            if not all(map(math.isfinite, place)):
                raise ValueError(f"received {place}")
            json.loads(row["evidence"])
        found[row["stem"]] = dict(row)
    return found
