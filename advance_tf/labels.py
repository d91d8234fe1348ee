"""The scene and event lists, and where the assets are."""

import csv
import dataclasses
import functools
import pathlib


@dataclasses.dataclass(frozen=True)
class Event:
    """One of AudioSet's 527 sound events."""

    index: int
    mid: str
    name: str


def asset_path(name: str) -> pathlib.Path:
    """Where the asset `name` lies, in a checkout or in an installed wheel.

    A wheel holds `assets/` inside the package; a checkout and an editable
    install have it beside the package.

    Args:
        name: path below `assets/`, with forward slashes.

    Returns:
        The path of an existing file or folder.

    Raises:
        FileNotFoundError: the asset is in neither place.
    """
    package = pathlib.Path(__file__).resolve().parent
    places = (package / "assets" / name, package.parent / "assets" / name)
    for place in places:
        if place.exists():
            return place
    raise FileNotFoundError(
        f"Asset '{name}' must lie in one of {', '.join(map(str, places))}; it is in "
        "neither. Install advance_tf again."
    )


@functools.cache
def scenes() -> tuple[str, ...]:
    """The 13 scenes of ADVANCE, sorted by name (the order of every output)."""
    with asset_path("scenes.csv").open(newline="", encoding="utf-8") as file:
        names = tuple(row["scene"] for row in csv.DictReader(file))
    if list(names) != sorted(names):
        raise ValueError(f"scenes.csv must be sorted by name; received {names}.")
    return names


@functools.cache
def scenes_as_published() -> tuple[str, ...]:
    """The 13 scenes in the authors' order, that of their checkpoints' outputs."""
    with asset_path("scenes.csv").open(newline="", encoding="utf-8") as file:
        rows = sorted(csv.DictReader(file), key=lambda row: int(row["authors_index"]))
    return tuple(row["scene"] for row in rows)


@functools.cache
def events() -> tuple[Event, ...]:
    """AudioSet's 527 events in the order of their index."""
    with asset_path("events.csv").open(newline="", encoding="utf-8") as file:
        return tuple(
            Event(int(row["index"]), row["mid"], row["display_name"])
            for row in csv.DictReader(file)
        )
