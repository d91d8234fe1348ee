"""Pairs of an image and a sound: matching of files by scene and stem."""

import collections
import dataclasses
import difflib
import os
import pathlib
import re
import unicodedata
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from advance_tf import labels
from advance_tf.files import is_system_entry, is_utf8

IMAGE_ENDINGS = (".jpg", ".jpeg", ".png", ".bmp", ".webp")
SOUND_ENDINGS = (".wav",)
# Formats that models do not read; `advance prepare` converts most of them.
OTHER_IMAGE_ENDINGS = (
    *(".tif", ".tiff", ".gif", ".jp2", ".j2k", ".avif", ".heic", ".heif", ".jxl"),
)
OTHER_SOUND_ENDINGS = (
    *(".aif", ".aifc", ".aiff", ".au", ".caf", ".flac", ".m4a", ".aac", ".mp3"),
    *(".mp4", ".oga", ".ogg", ".opus", ".rf64", ".w64", ".wma"),
)

# Reasons for which files are left out.
UNKNOWN_SCENE = "unknown scene"
NO_SITE = "stem without site"
TWO_SCENES = "stem in two scenes"
TWO_FILES = "two files of one stem"
EMPTY = "empty file"
OTHER_IMAGE = "image in a format that is not read"
OTHER_SOUND = "sound in a format that is not read"
DANGLING = "link to a missing file"
NOT_UTF8 = "file name that is not UTF-8"
UNPAIRED_IMAGE = "unpaired image"
UNPAIRED_SOUND = "unpaired sound"

_SITE = re.compile(r"([0-9]{5})(?![0-9])")


@dataclasses.dataclass(frozen=True, slots=True)
class Pair:
    """An image and a sound of the same location.

    Attributes:
        stem: name of both files without extension, unique in a data set.
        scene: one of the 13 scenes.
        site: identifier of the location, the first five digits of the stem.
        image: path relative to the data folder, with forward slashes.
        sound: path relative to the data folder, with forward slashes.
    """

    stem: str
    scene: str
    site: str
    image: str
    sound: str

    @property
    def key(self) -> tuple[str, str]:
        """Scene and stem, by which the pair is found in a table."""
        return self.scene, self.stem


def rows_of(
    pairs: Iterable[Pair],
    keys: Sequence[tuple[str, str]],
    what: str = "a row in the table",
    way_out: str = "Compute the table with these pairs.",
) -> np.ndarray:
    """The rows of pairs in a table.

    Args:
        pairs: the pairs to look up.
        keys: scene and stem of each row, as `Pair.key`.
        what: what every pair must have, for the error.
        way_out: what to do about it, for the error.

    Returns:
        int64 [m], the row of each pair.

    Raises:
        ValueError: a pair has no row.

    Example:
        >>> lake = Pair("00017_3", "lake", "00017", "", "")
        >>> rows_of([lake], [("beach", "00001"), ("lake", "00017_3")]).tolist()
        [1]
    """
    row_of = {key: row for row, key in enumerate(keys)}
    wanted = [pair.key for pair in pairs]
    missing = [key for key in wanted if key not in row_of]
    if missing:
        raise ValueError(
            f"Every pair must have {what}; {len(missing)} have none, the first is "
            f"{'/'.join(missing[0])}. {way_out}"
        )
    return np.array([row_of[key] for key in wanted], np.int64)


def site_of(stem: str) -> str:
    """The site of a stem: its first five digits.

    Args:
        stem: for example "00017_3".

    Returns:
        Five digits, "00017"; "" if the stem does not begin with exactly five digits.

    Example:
        >>> site_of("00017_3"), site_of("lake")
        ('00017', '')
    """
    match = _SITE.match(stem)
    return match.group(1) if match else ""


def modality_folders(data_dir: pathlib.Path, name: str) -> list[pathlib.Path]:
    """The folders of one modality that a data folder has; a data set has one.

    Args:
        data_dir: folder of the data set.
        name: "vision" or "sound".

    Returns:
        Those of <name>, and ADVANCE_<name>/<name> or ADVANCE_<name>, that exist.
    """
    archive = data_dir / f"ADVANCE_{name}"
    nested = archive / name
    candidates = (data_dir / name, nested if nested.is_dir() else archive)
    return [folder for folder in candidates if folder.is_dir()]


def _scene_names(folder: pathlib.Path) -> set[str]:
    with os.scandir(folder) as entries:
        return {
            entry.name
            for entry in entries
            if entry.is_dir() and not is_system_entry(entry.name)
        }


class _Files(NamedTuple):
    """The names of the files of one scene and stem in one modality.

    Attributes:
        read: those with an ending that is read.
        other: those in other formats; only used where nothing is read.
    """

    read: list[str]
    other: list[str]


_NONE = _Files([], [])
_OTHER_ENDINGS = (OTHER_IMAGE_ENDINGS, OTHER_SOUND_ENDINGS)
_NO_READABLE = (OTHER_IMAGE, OTHER_SOUND)
_UNPAIRED = (UNPAIRED_IMAGE, UNPAIRED_SOUND)
_Skipped = dict[str, list[str]]


def _files_by_stem(
    folder: pathlib.Path, scene: str, endings: tuple[str, ...], others: tuple[str, ...]
) -> dict[str, _Files]:
    """Names of a scene's files by stem, sorted.

    File systems differ in how they compose accents: "e" and an accent of its own
    (NFD) or one letter (NFC). Both are the same stem.
    """
    try:
        names = sorted(os.listdir(folder / scene))
    except FileNotFoundError:
        return {}
    found: dict[str, _Files] = {}
    for name in names:
        stem, ending = os.path.splitext(name)
        read = ending.lower() in endings
        if (read or ending.lower() in others) and not is_system_entry(name):
            stem = stem if stem.isascii() else unicodedata.normalize("NFC", stem)
            files = found.setdefault(stem, _Files([], []))
            (files.read if read else files.other).append(name)
    return found


def match_folders(
    folders: tuple[pathlib.Path, pathlib.Path],
    endings: tuple[tuple[str, ...], tuple[str, ...]],
    prefixes: Sequence[str],
) -> tuple[tuple[Pair, ...], dict[str, tuple[str, ...]]]:
    """Pairs the files of two folders by scene and stem.

    Args:
        folders: folder of the images and of the sounds, each with a folder for each
            scene.
        endings: extensions of the images and of the sounds to pair, in lower case.
        prefixes: text before the paths of images and of sounds in the pairs.

    Returns:
        The pairs, sorted by scene and stem, and reason → names of the other files.
    """
    scenes = sorted(_scene_names(folders[0]) | _scene_names(folders[1]))
    repeated: set[str] = set()
    while True:
        pairs: list[Pair] = []
        skipped: _Skipped = collections.defaultdict(list)
        scene_of: dict[str, str] = {}
        found: set[str] = set()
        for scene in scenes:
            # Only the names of one scene are in memory beside the pairs.
            names = [
                _files_by_stem(folder, scene, own, others)
                for folder, own, others in zip(
                    folders, endings, _OTHER_ENDINGS, strict=True
                )
            ]
            stems = sorted(names[0].keys() | names[1].keys())
            if scene in labels.scenes():
                found.update(
                    stem for stem in stems if scene_of.setdefault(stem, scene) != scene
                )
            paired = _match_scene(scene, stems, names, folders, repeated, skipped)
            pairs += _pairs_of(scene, paired, prefixes)
        # A stem in two scenes is known only after the second one: a rare second pass.
        if found == repeated:
            break
        repeated = found
    return tuple(pairs), {reason: tuple(skipped[reason]) for reason in sorted(skipped)}


def _match_scene(
    scene: str,
    stems: Sequence[str],
    names: Sequence[Mapping[str, _Files]],
    folders: Sequence[pathlib.Path],
    repeated: set[str],
    skipped: _Skipped,
) -> Iterator[tuple[str, str, str]]:
    """Stem, image and sound of each pair of a scene; adds the others to `skipped`."""
    roots = [f"{folder}{os.sep}{scene}{os.sep}" for folder in folders]
    for stem in stems:
        files = [own.get(stem, _NONE) for own in names]
        reason = _key_problem(scene, stem, files, stem in repeated)
        problems = (
            {reason: [own.read + own.other for own in files]}
            if reason
            else _file_problems(files, roots)
        )
        if not problems:
            yield stem, files[0].read[0], files[1].read[0]
        for reason, affected in problems.items():
            skipped[reason] += [
                _display(pathlib.Path(root, name))
                for root, own in zip(roots, affected, strict=True)
                for name in own
            ]


def _pairs_of(
    scene: str, paired: Iterable[tuple[str, str, str]], prefixes: Sequence[str]
) -> Iterator[Pair]:
    """The pairs of a scene; those of a site share one string of its name."""
    images, sounds = (f"{prefix}{scene}/" for prefix in prefixes)
    sites: dict[str, str] = {}
    for stem, image, sound in paired:
        site = site_of(stem)
        site = sites.setdefault(site, site)
        yield Pair(stem, scene, site, images + image, sounds + sound)


def _key_problem(scene: str, stem: str, files: Sequence[_Files], repeated: bool) -> str:
    """Why no file of a scene and stem is used; "" for a key that is valid."""
    if scene not in labels.scenes():
        near = difflib.get_close_matches(scene.lower(), labels.scenes(), 1)
        return UNKNOWN_SCENE + (f" (rename to {near[0]!r})" if near else "")
    if not is_utf8(stem):
        return NOT_UTF8
    if not site_of(stem):
        return NO_SITE
    if repeated:
        return TWO_SCENES
    return TWO_FILES if any(len(own.read) > 1 for own in files) else ""


def _file_problems(
    files: Sequence[_Files], roots: Sequence[str]
) -> dict[str, list[list[str]]]:
    """Reason → the names of the images and of the sounds; empty for a pair."""
    problems: dict[str, list[list[str]]] = {}
    for kind, own in enumerate(files):
        for name in own.read + own.other:
            try:
                size = os.stat(roots[kind] + name).st_size
            except FileNotFoundError:
                problems.setdefault(DANGLING, [[], []])[kind].append(name)
                continue
            if not size and name in own.read:
                problems.setdefault(EMPTY, [[], []])[kind].append(name)
    if problems:
        return problems
    for kind, own in enumerate(files):
        if not own.read and own.other:
            problems[_NO_READABLE[kind]] = [[], []]
            problems[_NO_READABLE[kind]][kind] += own.other
    if problems:
        return problems
    for kind, own in enumerate(files):
        if not files[1 - kind].read:
            problems[_UNPAIRED[kind]] = [[], []]
            problems[_UNPAIRED[kind]][kind] += own.read
    return problems


def _display(file: pathlib.Path) -> str:
    """Scene folder and name of a file; escaped where two names could be mistaken."""
    text = "/".join(file.parts[-3:])
    composed = unicodedata.normalize("NFC", text)
    plain = text.isascii() or (text == composed and is_utf8(text))
    return text if plain else ascii(text)
