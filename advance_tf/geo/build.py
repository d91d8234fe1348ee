"""Writes a planned data set: images, clips, tables, attribution and data card."""

import csv
import dataclasses
import json
import pathlib
import warnings
from collections.abc import Callable, Mapping, Sequence

import numpy as np
import soundfile
from tqdm import tqdm

from advance_tf.checksums import file_sha256
from advance_tf.data.places import write_places
from advance_tf.data.recordings import write_wav
from advance_tf.extras import requires_extra
from advance_tf.files import reading, remove_partial_files, replacing
from advance_tf.geo.data_card import attribution, data_card
from advance_tf.geo.imagery import Imagery
from advance_tf.geo.plan import BuildSettings, Plan, PlannedPair
from advance_tf.geo.provenance import (
    PROVENANCE,
    PROVENANCE_COLUMNS,
    provenance_row,
    read_provenance,
)
from advance_tf.geo.recordings import Rejection

SETTINGS = "build.json"
REJECTED = "rejected.csv"
ATTRIBUTION, CARD = "ATTRIBUTION.txt", "DATA_CARD.md"
_JPEG_QUALITY = 95


@dataclasses.dataclass(frozen=True)
class BuildResult:
    """The outcome of `build_dataset`.

    Attributes:
        written: number of pairs that were written.
        up_to_date: number of pairs that an earlier call wrote.
        failed: pairs whose files could not be written, with the reason.
        rejections: everything that became no pair, `failed` included.
    """

    written: int
    up_to_date: int
    failed: tuple[Rejection, ...]
    rejections: tuple[Rejection, ...]


def build_dataset(
    plan: Plan,
    imagery: Imagery,
    data_dir: str | pathlib.Path,
    settings: BuildSettings | None = None,
    *,
    inputs: Mapping[str, object] | None = None,
    credits: Sequence[str] = (),
    progress: bool = True,
) -> BuildResult:
    """Writes a plan in ADVANCE's layout.

    Besides vision/ and sound/ it writes sites.csv (places and sites of the pairs,
    which `split_by_site`, `split_by_block` and the leak audit use), provenance.csv
    (recording, cut, image and evidence of each pair), rejected.csv, ATTRIBUTION.txt,
    DATA_CARD.md and build.json. A pair whose row in provenance.csv is unchanged is
    not written again, so that a second call resumes an interrupted one.

    Args:
        plan: the pairs, see `plan_dataset`.
        imagery: open rasters.
        data_dir: new folder, or that of an earlier call.
        settings: the settings of the plan.
        inputs: names of the inputs, for build.json and the data card.
        credits: lines for ATTRIBUTION.txt, such as that of the imagery.
        progress: show a progress bar on a terminal.

    Returns:
        Numbers of pairs, and what became none.

    Raises:
        ValueError: the folder holds other files, or was written with other settings.
        OSError: the disk is full or read-only.
    """
    rules, root = settings or BuildSettings(), pathlib.Path(data_dir)
    _check_target(root, rules)
    hashes = {
        path: file_sha256(path)
        for path in sorted({one.recording.file for one in plan.pairs})
    }
    rows = {
        one.pair.stem: provenance_row(one, hashes[one.recording.file])
        for one in plan.pairs
    }
    _remove_outdated(root, rows)
    # First of all, so that a call that is interrupted can be resumed.
    _write_rows(root / PROVENANCE, PROVENANCE_COLUMNS, rows.values())
    failed: list[Rejection] = []
    written = 0
    for one in tqdm(
        plan.pairs, desc="building", unit="pair", disable=None if progress else True
    ):
        image, sound = root / one.pair.image, root / one.pair.sound
        if image.exists() and sound.exists():
            continue
        try:
            _write_pair(one, imagery, image, sound, rules)
            written += 1
        except (ValueError, soundfile.SoundFileError) as error:
            for path in (image, sound):
                path.unlink(missing_ok=True)
            failed.append(Rejection(one.recording.name, "writing", str(error)))
            del rows[one.pair.stem]
    stems = rows.keys()
    complete = dataclasses.replace(
        plan,
        pairs=tuple(one for one in plan.pairs if one.pair.stem in stems),
        rejections=(*plan.rejections, *failed),
    )
    _write_rows(root / PROVENANCE, PROVENANCE_COLUMNS, rows.values())
    write_tables(root, complete, rules, inputs or {}, credits)
    up_to_date = len(complete.pairs) - written
    return BuildResult(written, up_to_date, tuple(failed), complete.rejections)


def write_tables(
    root: pathlib.Path,
    plan: Plan,
    rules: BuildSettings,
    inputs: Mapping[str, object],
    credits: Sequence[str] = (),
) -> None:
    """Writes rejected.csv, sites.csv, ATTRIBUTION.txt, DATA_CARD.md and build.json.

    Args:
        root: folder of the data set.
        plan: pairs and rejections.
        rules: settings of the plan.
        inputs: names of the inputs.
        credits: lines for ATTRIBUTION.txt.
    """
    _write_rows(
        root / REJECTED,
        Rejection._fields,
        [rejection._asdict() for rejection in plan.rejections],
    )
    pairs = [one.pair for one in plan.pairs]
    write_places(root, pairs, plan.places(rules.site_metres))
    values = {"settings": dataclasses.asdict(rules), "inputs": dict(inputs)}
    texts = {
        ATTRIBUTION: attribution(plan, credits),
        CARD: data_card(plan, rules, inputs),
        SETTINGS: json.dumps(values, indent=2, ensure_ascii=False) + "\n",
    }
    for name, text in texts.items():
        with replacing(root / name) as temporary:
            temporary.write_text(text, encoding="utf-8")


def _check_target(root: pathlib.Path, rules: BuildSettings) -> None:
    """Raises ValueError unless the folder is new or has these settings."""
    path = root / SETTINGS
    if path.exists():
        way_out = "Restore it, or use another `data_dir`."
        with reading(path, "hold the settings of the data set", way_out):
            received = dict(json.loads(path.read_text(encoding="utf-8"))["settings"])
        expected = dataclasses.asdict(rules)
        changed = [n for n, value in expected.items() if received.get(n) != value]
        if changed:
            shown = ", ".join(
                f"`{name}` {received.get(name)}, now {expected[name]}"
                for name in changed
            )
            raise ValueError(
                f"{root} must be built with one set of settings; it was built with "
                f"{shown}. Use the same settings or another `data_dir`."
            )
    elif root.is_dir() and any(root.iterdir()):
        raise ValueError(
            f"{root} must be empty, or written by `advance build-dataset`; it contains "
            "other files. Use another `data_dir`."
        )
    else:
        root.mkdir(parents=True, exist_ok=True)
        values = {"settings": dataclasses.asdict(rules), "inputs": {}}
        with replacing(path) as temporary:
            temporary.write_text(json.dumps(values, indent=2) + "\n", encoding="utf-8")
    remove_partial_files(root, depth=2)


def _remove_outdated(root: pathlib.Path, rows: Mapping[str, dict[str, str]]) -> None:
    """Removes the files of pairs that changed or that are no longer planned."""
    before = read_provenance(root / PROVENANCE)
    kept = {stem for stem, row in rows.items() if _same(before.get(stem, {}), row)}
    for folder in ("vision", "sound"):
        for path in (root / folder).glob("*/*"):
            row = rows.get(path.stem)
            if path.stem not in kept or row is None or path.parent.name != row["scene"]:
                path.unlink()


def _same(before: Mapping[str, str], row: Mapping[str, str]) -> bool:
    """Whether image and sound of two rows are the same."""
    names = (
        *("scene", "recording", "recording_sha256", "latitude", "longitude"),
        *("cut_seed", "image_source", "image_date", "ground_resolution_metres"),
    )
    return all(before.get(name) == row[name] for name in names)


def _write_pair(
    one: PlannedPair,
    imagery: Imagery,
    image: pathlib.Path,
    sound: pathlib.Path,
    rules: BuildSettings,
) -> None:
    rule = rules.clip_rule(one.cut_seed)
    source = pathlib.Path(one.recording.file)
    _replace(sound, lambda path: write_wav(source, path, rule))
    tile = imagery.tile(one.latitude, one.longitude, rules.ground_metres, rules.pixels)
    _replace(image, lambda path: write_jpeg(path, tile.image))


def _replace(path: pathlib.Path, write: Callable[[pathlib.Path], object]) -> None:
    with replacing(path) as temporary:
        write(temporary)


def write_jpeg(path: pathlib.Path, image: np.ndarray) -> None:
    """Writes an image as JPEG of quality 95.

    Args:
        path: the file.
        image: uint8 [H, W, 3], RGB.
    """
    with requires_extra("geo"):
        import rasterio
        from rasterio.errors import NotGeoreferencedWarning
    height, width = image.shape[:2]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        with rasterio.open(
            path,
            "w",
            driver="JPEG",
            width=width,
            height=height,
            count=3,
            dtype="uint8",
            QUALITY=_JPEG_QUALITY,
        ) as jpeg:
            jpeg.write(image.transpose(2, 0, 1))


def _write_rows(path: pathlib.Path, columns: Sequence[str], rows: object) -> None:
    with replacing(path) as temporary:
        with temporary.open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, columns, lineterminator="\n")
            writer.writeheader()
            writer.writerows(rows)  # type: ignore[arg-type]
