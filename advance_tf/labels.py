"""The 13 scenes, the 527 events and the paths of the assets.

>>> scenes()[:3]
('airport', 'beach', 'bridge')
>>> events()[0].name, len(events())
('Speech', 527)
"""

import csv
import dataclasses
import functools
import pathlib

# Colour of each scene in figures and maps, by its index in the sorted list.
SCENE_COLORS = (
    *("#7a7a7a", "#f2b701", "#8b4513", "#8a8a00", "#0b5d1e", "#5fd35f", "#16239a"),
    *("#35b6f2", "#b07cf7", "#e0211b", "#ff9d7a", "#f03fb4", "#111111"),
)
# Colour of an answer that is rejected.
UNKNOWN_COLOR = "#c9c4d6"


@dataclasses.dataclass(frozen=True)
class Event:
    """One of AudioSet's 527 sound events.

    Attributes:
        index: position in every list and output of events, 0 to 526.
        mid: AudioSet's identifier, such as "/m/09x0r".
        name: display name, such as "Speech".
    """

    index: int
    mid: str
    name: str


def asset_path(name: str) -> pathlib.Path:
    """Returns the path of an asset, in a checkout or in an installed wheel.

    A wheel contains `assets/` inside the package; a checkout and an editable
    install have it next to the package.

    Args:
        name: path below `assets/`, with forward slashes, such as "scenes.csv".

    Returns:
        The path of an existing file or folder.

    Raises:
        FileNotFoundError: the asset is in neither folder.
    """
    package = pathlib.Path(__file__).resolve().parent
    candidates = (package / "assets" / name, package.parent / "assets" / name)
    for path in candidates:
        if path.exists():
            return path
    raise FileNotFoundError(
        f"Asset '{name}' must be one of {', '.join(map(str, candidates))}; neither "
        "exists. Install advance_tf again."
    )


@functools.cache
def scenes() -> tuple[str, ...]:
    """Returns the 13 scenes of ADVANCE, sorted by name: the order of every output."""
    with asset_path("scenes.csv").open(newline="", encoding="utf-8") as file:
        names = tuple(row["scene"] for row in csv.DictReader(file))
    if list(names) != sorted(names):
        raise ValueError(f"scenes.csv must be sorted by name; received {names}.")
    return names


@functools.cache
def scenes_as_published() -> tuple[str, ...]:
    """Returns the 13 scenes in the order of the outputs of the authors' checkpoints."""
    with asset_path("scenes.csv").open(newline="", encoding="utf-8") as file:
        rows = sorted(csv.DictReader(file), key=lambda row: int(row["authors_index"]))
    return tuple(row["scene"] for row in rows)


@functools.cache
def events() -> tuple[Event, ...]:
    """Returns AudioSet's 527 events in the order of their index."""
    with asset_path("events.csv").open(newline="", encoding="utf-8") as file:
        return tuple(
            Event(int(row["index"]), row["mid"], row["display_name"])
            for row in csv.DictReader(file)
        )
