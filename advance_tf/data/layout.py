"""ADVANCE's layout: vision/<scene>/<stem>.jpg and sound/<scene>/<stem>.wav."""

import collections
import dataclasses
import pathlib
import re
from collections.abc import Iterable, Mapping

from advance_tf import labels
from advance_tf.files import join_names

IMAGE_ENDINGS = (".jpg", ".jpeg", ".png", ".bmp", ".webp")
SOUND_ENDINGS = (".wav",)

# Reasons for which files are left out.
UNKNOWN_SCENE = "unknown scene"
NO_SITE = "stem without site"
TWO_SCENES = "stem in two scenes"
TWO_FILES = "two files of one stem"
EMPTY = "empty file"
UNPAIRED_IMAGE = "unpaired image"
UNPAIRED_SOUND = "unpaired sound"

_SITE = re.compile(r"([0-9]{5})(?![0-9])")
_SYSTEM_NAMES = ("__MACOSX", "Thumbs.db")


@dataclasses.dataclass(frozen=True)
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


@dataclasses.dataclass(frozen=True)
class Scan:
    """The pairs of a folder, and the files that were left out.

    Attributes:
        pairs: sorted by scene and stem.
        skipped: reason → file names; empty unless missing files were allowed.
    """

    pairs: tuple[Pair, ...]
    skipped: Mapping[str, tuple[str, ...]]


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


def modality_folder(data_dir: pathlib.Path, name: str) -> pathlib.Path:
    """The folder of one modality, images or sounds.

    Args:
        data_dir: folder of the data set.
        name: "vision" or "sound".

    Returns:
        <name>, ADVANCE_<name>/<name> or ADVANCE_<name>, the names that the published
        archives and common unpacking tools create.

    Raises:
        ValueError: none or two of these folders exist.
    """
    archive = data_dir / f"ADVANCE_{name}"
    nested = archive / name
    candidates = (data_dir / name, nested if nested.is_dir() else archive)
    found = [folder for folder in candidates if folder.is_dir()]
    if len(found) != 1:
        received = " and ".join(str(folder) for folder in found) or "neither"
        raise ValueError(
            f"{data_dir} must contain exactly one folder '{name}' or 'ADVANCE_{name}'; "
            f"received {received}. Get ADVANCE with `advance download`, convert your "
            "own files with `advance prepare`, or remove the duplicate folder."
        )
    return found[0]


def scan(data_dir: str | pathlib.Path, *, allow_missing: bool = False) -> Scan:
    """Pairs the images and sounds of a folder by scene and stem.

    Args:
        data_dir: folder with vision/<scene>/<stem>.jpg and
            sound/<scene>/<stem>.wav, or with the folder names of ADVANCE's archives.
        allow_missing: leave out unpaired and empty files instead of raising an error.

    Returns:
        The pairs, with paths relative to `data_dir`.

    Raises:
        ValueError: a file is unpaired or empty, a scene is unknown, a stem has no
            site or is in two scenes; or there is no pair.

    Example:
        >>> import tempfile
        >>> from advance_tf.data.synthetic.pairs import write_pairs
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     _ = write_pairs(folder, sites_per_scene=1, progress=False)
        ...     first = scan(folder).pairs[0]
        >>> first.scene, first.site, first.image
        ('airport', '00000', 'vision/airport/00000.jpg')
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
        sound_endings: extensions of sound files in lower case, such as ".wav".
        allow_missing: leave out unpaired and empty files instead of raising an error.

    Returns:
        The pairs, with `image` relative to `image_dir` and `sound` relative to
        `sound_dir`.

    Raises:
        ValueError: as in `scan`.
    """
    images = _list_files(image_dir, IMAGE_ENDINGS)
    sounds = _list_files(sound_dir, sound_endings)
    pairs, skipped = _match(images, sounds)
    if skipped and not allow_missing:
        raise ValueError(
            f"Every image in {image_dir} must have a sound "
            f"({', '.join(sound_endings)}) of the same scene and stem in "
            f"{sound_dir}, and vice versa; received {describe(skipped)}. "
            "Repair the files, convert sounds other than WAV with `advance prepare`, "
            "or leave these files out with `allow_missing=True`."
        )
    if not pairs:
        raise ValueError(
            f"{image_dir} and {sound_dir} must contain at least one pair in folders "
            f"named after the scenes ({', '.join(labels.scenes())}); received none"
            f"{', but ' + describe(skipped) if skipped else ''}. Add pairs or choose "
            "another folder."
        )
    return Scan(pairs, skipped)


def describe(skipped: Mapping[str, Iterable[str]]) -> str:
    """Describes files that were left out, for a message.

    Args:
        skipped: reason → file names.

    Returns:
        Each reason with its number of files and the first ten names.

    Example:
        >>> describe({"empty file": ["vision/lake/00001.jpg"]})
        'empty file (1): vision/lake/00001.jpg'
    """
    parts = []
    for reason, files in skipped.items():
        names = list(files)
        parts.append(f"{reason} ({len(names)}): {join_names(names)}")
    return "; ".join(parts)


def _list_files(folder: pathlib.Path, endings: tuple[str, ...]) -> list[pathlib.Path]:
    """Files with one of `endings` in the scene folders, sorted."""
    if not folder.is_dir():
        raise ValueError(
            f"{folder} must be a folder; it does not exist. Check the path."
        )
    return [
        file
        for scene in sorted(folder.iterdir())
        if scene.is_dir() and not _is_system_file(scene.name)
        for file in sorted(scene.iterdir())
        if file.suffix.lower() in endings and not _is_system_file(file.name)
    ]


def _is_system_file(name: str) -> bool:
    """Whether an operating system created the file, such as "._a.jpg"."""
    return name.startswith(".") or name in _SYSTEM_NAMES


def _match(
    images: list[pathlib.Path], sounds: list[pathlib.Path]
) -> tuple[tuple[Pair, ...], dict[str, tuple[str, ...]]]:
    """Pairs by scene and stem, and the other files by reason."""
    files = {"image": _by_stem(images), "sound": _by_stem(sounds)}
    keys = sorted(files["image"].keys() | files["sound"].keys())
    scenes_of: dict[str, set[str]] = collections.defaultdict(set)
    for scene, stem in keys:
        if scene in labels.scenes():
            scenes_of[stem].add(scene)
    pairs = []
    skipped: dict[str, list[str]] = collections.defaultdict(list)
    for scene, stem in keys:
        image = files["image"].get((scene, stem), [])
        sound = files["sound"].get((scene, stem), [])
        reason = _skip_reason(scene, stem, image, sound, scenes_of[stem])
        if reason:
            affected = {UNPAIRED_IMAGE: image, UNPAIRED_SOUND: sound}.get(
                reason, image + sound
            )
            skipped[reason] += ["/".join(file.parts[-3:]) for file in affected]
            continue
        paths = [f"{scene}/{file.name}" for file in image + sound]
        pairs.append(Pair(stem, scene, site_of(stem), *paths))
    ordered = {reason: tuple(skipped[reason]) for reason in sorted(skipped)}
    return tuple(pairs), ordered


def _by_stem(files: list[pathlib.Path]) -> dict[tuple[str, str], list[pathlib.Path]]:
    grouped: dict[tuple[str, str], list[pathlib.Path]] = collections.defaultdict(list)
    for file in files:
        grouped[file.parent.name, file.stem].append(file)
    return grouped


def _skip_reason(
    scene: str,
    stem: str,
    image: list[pathlib.Path],
    sound: list[pathlib.Path],
    scenes: set[str],
) -> str:
    """Why the files of one scene and stem are left out; "" if they are a pair."""
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


NOTICE = "NOTICE.txt"


def read_notice(data_dir: str | pathlib.Path) -> str:
    """Reads the first line of a data set's NOTICE.txt.

    Args:
        data_dir: folder of the data set.

    Returns:
        The remark that reports show, for example "synthetic data: …"; "" if there
        is no such file.
    """
    path = pathlib.Path(data_dir) / NOTICE
    if not path.exists():
        return ""
    lines = path.read_text(encoding="utf-8").splitlines()
    return lines[0].strip() if lines else ""


def join_labels(*remarks: str) -> str:
    """Joins labels into one, without repetition.

    Args:
        *remarks: labels, "" for none.

    Returns:
        The labels that are neither empty nor part of an earlier one, separated by
        "; ".

    Example:
        >>> join_labels("synthetic data", "", "leaky", "leaky")
        'synthetic data; leaky'
    """
    label = ""
    for remark in remarks:
        if remark and remark not in label:
            label = f"{label}; {remark}" if label else remark
    return label
