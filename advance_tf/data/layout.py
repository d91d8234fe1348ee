"""ADVANCE's layout: vision/<scene>/<stem>.jpg with sound/<scene>/<stem>.wav."""

import collections
import dataclasses
import pathlib
import re
from collections.abc import Iterable, Mapping

from advance_tf import labels

IMAGE_ENDINGS = (".jpg", ".jpeg", ".png", ".bmp", ".webp")
SOUND_ENDINGS = (".wav",)

UNKNOWN_SCENE = "unknown scene"
NO_SITE = "stem without site"
TWO_SCENES = "stem in two scenes"
TWO_FILES = "two files of one stem"
EMPTY = "empty file"
UNPAIRED_IMAGE = "unpaired image"
UNPAIRED_SOUND = "unpaired sound"

_NAMED_AT_MOST = 10
_SITE = re.compile(r"([0-9]{5})(?![0-9])")
_IGNORED = ("__MACOSX", "Thumbs.db")


@dataclasses.dataclass(frozen=True)
class Pair:
    """An image and a sound of the same place.

    Attributes:
        stem: name of both files without ending, unique in a data set.
        scene: one of the 13 scenes.
        site: the place, the first five digits of the stem.
        image: path below the data folder, with forward slashes.
        sound: path below the data folder, with forward slashes.
    """

    stem: str
    scene: str
    site: str
    image: str
    sound: str


@dataclasses.dataclass(frozen=True)
class Scan:
    """The pairs of a folder, and what was left out and why.

    Attributes:
        pairs: sorted by scene and stem.
        skipped: reason → names; empty unless missing files were allowed.
    """

    pairs: tuple[Pair, ...]
    skipped: Mapping[str, tuple[str, ...]]


def site_of(stem: str) -> str:
    """The site of a stem: its first five digits.

    Args:
        stem: for example "00017_3".

    Returns:
        Five digits, "00017"; "" when the stem does not begin with exactly five.
    """
    match = _SITE.match(stem)
    return match.group(1) if match else ""


def modality_folder(data_dir: pathlib.Path, name: str) -> pathlib.Path:
    """The folder of the images or of the sounds.

    Args:
        data_dir: folder of the data set.
        name: "vision" or "sound".

    Returns:
        <name>, ADVANCE_<name>/<name> or ADVANCE_<name>, as the published
        archives and the tools that unpack them make them.

    Raises:
        ValueError: none of them is there, or two are.
    """
    archive = data_dir / f"ADVANCE_{name}"
    nested = archive / name
    places = (data_dir / name, nested if nested.is_dir() else archive)
    found = [place for place in places if place.is_dir()]
    if len(found) != 1:
        received = " and ".join(str(place) for place in found) or "neither"
        raise ValueError(
            f"{data_dir} must hold exactly one folder '{name}' or 'ADVANCE_{name}'; "
            f"received {received}. Get ADVANCE with `python -m advance_tf.download "
            "--data_dir=...`, bring your own files into the layout with `python -m "
            "advance_tf.prepare`, or remove the folder that is too many."
        )
    return found[0]


def scan(data_dir: str | pathlib.Path, *, allow_missing: bool = False) -> Scan:
    """Pairs the images and sounds of a folder by scene and stem.

    Args:
        data_dir: folder with vision/<scene>/<stem>.jpg and
            sound/<scene>/<stem>.wav, or the folder names of ADVANCE's archives.
        allow_missing: leave out what does not pair, instead of refusing it.

    Returns:
        The pairs, with paths relative to `data_dir`.

    Raises:
        ValueError: a file is unpaired or empty, a scene unknown, a stem without
            a site or in two scenes; or there is no pair at all.
    """
    root = pathlib.Path(data_dir)
    image_dir = modality_folder(root, "vision")
    sound_dir = modality_folder(root, "sound")
    found = pair_folders(image_dir, sound_dir, SOUND_ENDINGS, allow_missing)
    image_prefix = image_dir.relative_to(root).as_posix()
    sound_prefix = sound_dir.relative_to(root).as_posix()
    pairs = tuple(
        dataclasses.replace(
            pair,
            image=f"{image_prefix}/{pair.image}",
            sound=f"{sound_prefix}/{pair.sound}",
        )
        for pair in found.pairs
    )
    return Scan(pairs, found.skipped)


def pair_folders(
    image_dir: pathlib.Path,
    sound_dir: pathlib.Path,
    sound_endings: tuple[str, ...],
    allow_missing: bool = False,
) -> Scan:
    """Pairs <image_dir>/<scene>/<stem>.* with <sound_dir>/<scene>/<stem>.*.

    Args:
        image_dir: folder with one folder for each scene.
        sound_dir: the same for the sounds.
        sound_endings: lower-case endings of the files that are sounds.
        allow_missing: leave out what does not pair, instead of refusing it.

    Returns:
        The pairs, `image` relative to `image_dir`, `sound` to `sound_dir`.

    Raises:
        ValueError: as for `scan`.
    """
    images = _files(image_dir, IMAGE_ENDINGS)
    sounds = _files(sound_dir, sound_endings)
    pairs, skipped = _match(images, sounds)
    if skipped and not allow_missing:
        raise ValueError(
            f"Every image in {image_dir} must have a sound "
            f"({', '.join(sound_endings)}) of the same scene and stem in "
            f"{sound_dir}, and the reverse; received {describe(skipped)}. "
            "Repair the files, convert sounds other than WAV with `python -m "
            "advance_tf.prepare`, or leave these out with --allow_missing."
        )
    if not pairs:
        raise ValueError(
            f"{image_dir} and {sound_dir} must hold at least one pair in folders "
            f"named after the scenes ({', '.join(labels.scenes())}); received none"
            f"{', but ' + describe(skipped) if skipped else ''}."
        )
    return Scan(pairs, skipped)


def describe(skipped: Mapping[str, Iterable[str]]) -> str:
    """What was left out in words: reason, count and the first ten names."""
    parts = []
    for reason, names in skipped.items():
        names = list(names)
        rest = len(names) - _NAMED_AT_MOST
        more = f" and {rest} more" if rest > 0 else ""
        shown = ", ".join(names[:_NAMED_AT_MOST])
        parts.append(f"{reason} ({len(names)}): {shown}{more}")
    return "; ".join(parts)


def _files(folder: pathlib.Path, endings: tuple[str, ...]) -> list[pathlib.Path]:
    """Files with one of `endings` in the scene folders, in sorted order."""
    if not folder.is_dir():
        raise ValueError(f"{folder} must be a folder; there is none.")
    return [
        file
        for scene in sorted(folder.iterdir())
        if scene.is_dir() and not _is_foreign(scene.name)
        for file in sorted(scene.iterdir())
        if file.suffix.lower() in endings and not _is_foreign(file.name)
    ]


def _is_foreign(name: str) -> bool:
    """Whether an operating system left it there ("._a.jpg" is no image)."""
    return name.startswith(".") or name in _IGNORED


def _match(
    images: list[pathlib.Path], sounds: list[pathlib.Path]
) -> tuple[tuple[Pair, ...], dict[str, tuple[str, ...]]]:
    """Pairs by (scene, stem); whatever does not pair, by reason."""
    files = {"image": _by_stem(images), "sound": _by_stem(sounds)}
    keys = sorted(files["image"].keys() | files["sound"].keys())
    scenes_of = collections.defaultdict(set)
    for scene, stem in keys:
        if scene in labels.scenes():
            scenes_of[stem].add(scene)
    pairs = []
    skipped: dict[str, list[str]] = collections.defaultdict(list)
    for scene, stem in keys:
        image = files["image"].get((scene, stem), [])
        sound = files["sound"].get((scene, stem), [])
        reason = _refusal(scene, stem, image, sound, scenes_of[stem])
        if reason:
            at_fault = {UNPAIRED_IMAGE: image, UNPAIRED_SOUND: sound}.get(
                reason, image + sound
            )
            skipped[reason] += ["/".join(file.parts[-3:]) for file in at_fault]
            continue
        paths = [f"{scene}/{file.name}" for file in image + sound]
        pairs.append(Pair(stem, scene, site_of(stem), *paths))
    ordered = {reason: tuple(skipped[reason]) for reason in sorted(skipped)}
    return tuple(pairs), ordered


def _by_stem(files: list[pathlib.Path]) -> dict[tuple[str, str], list[pathlib.Path]]:
    grouped = collections.defaultdict(list)
    for file in files:
        grouped[file.parent.name, file.stem].append(file)
    return grouped


def _refusal(scene, stem, image, sound, scenes) -> str:
    """Why the files of one scene and stem are no pair; "" when they are one."""
    if scene not in labels.scenes():
        return UNKNOWN_SCENE
    if not site_of(stem):
        return NO_SITE
    if len(scenes) > 1:
        return TWO_SCENES
    if len(image) > 1 or len(sound) > 1:
        return TWO_FILES
    if any(not file.stat().st_size for file in image + sound):
        return EMPTY
    if not sound:
        return UNPAIRED_IMAGE
    if not image:
        return UNPAIRED_SOUND
    return ""
