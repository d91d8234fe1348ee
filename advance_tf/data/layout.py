"""ADVANCE's layout: vision/<scene>/<stem>.jpg and sound/<scene>/<stem>.wav."""

import dataclasses
import pathlib
from collections.abc import Iterable, Mapping, Sequence

from advance_tf import labels
from advance_tf.data.pairing import (
    IMAGE_ENDINGS,
    SOUND_ENDINGS,
    UNKNOWN_SCENE,
    Pair,
    match_folders,
    modality_folders,
)
from advance_tf.data.shards import is_shards, open_shards
from advance_tf.files import join_names


@dataclasses.dataclass(frozen=True)
class Scan:
    """The pairs of a folder, and the files that were left out.

    Attributes:
        pairs: sorted by scene and stem.
        skipped: reason → file names; empty unless missing files were allowed.
    """

    pairs: tuple[Pair, ...]
    skipped: Mapping[str, tuple[str, ...]]


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
    found = modality_folders(data_dir, name)
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
            sound/<scene>/<stem>.wav, or with the folder names of ADVANCE's archives;
            or a folder of shards.
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
    if is_shards(root):
        return Scan(open_shards(root).pairs, {})
    image_dir = modality_folder(root, "vision")
    sound_dir = modality_folder(root, "sound")
    prefixes = [
        f"{folder.relative_to(root).as_posix()}/" for folder in (image_dir, sound_dir)
    ]
    endings = IMAGE_ENDINGS, SOUND_ENDINGS
    return _pair_folders((image_dir, sound_dir), endings, allow_missing, prefixes)


def pair_folders(
    image_dir: pathlib.Path,
    sound_dir: pathlib.Path,
    *,
    image_endings: tuple[str, ...] = IMAGE_ENDINGS,
    sound_endings: tuple[str, ...] = SOUND_ENDINGS,
    allow_missing: bool = False,
) -> Scan:
    """Pairs <image_dir>/<scene>/<stem>.* with <sound_dir>/<scene>/<stem>.*.

    Args:
        image_dir: folder with one folder for each scene.
        sound_dir: the same for the sounds.
        image_endings: extensions of the images to pair in lower case, such as ".jpg".
        sound_endings: extensions of the sounds to pair.
        allow_missing: leave out unpaired and empty files instead of raising an error.

    Returns:
        The pairs, with `image` relative to `image_dir` and `sound` relative to
        `sound_dir`.

    Raises:
        ValueError: as in `scan`.
    """
    return _pair_folders(
        (image_dir, sound_dir), (image_endings, sound_endings), allow_missing, ("", "")
    )


def _pair_folders(
    folders: tuple[pathlib.Path, pathlib.Path],
    endings: tuple[tuple[str, ...], tuple[str, ...]],
    allow_missing: bool,
    prefixes: Sequence[str],
) -> Scan:
    """`pair_folders`, with a prefix of the paths of images and of sounds."""
    image_dir, sound_dir = folders
    image_endings, sound_endings = endings
    for folder in folders:
        if not folder.is_dir():
            raise ValueError(
                f"{folder} must be a folder; it does not exist. Check the path."
            )
    pairs, skipped = match_folders(folders, endings, prefixes)
    if skipped and not allow_missing:
        scenes = ""
        if any(reason.startswith(UNKNOWN_SCENE) for reason in skipped):
            scenes = f" The scenes are {', '.join(labels.scenes())}."
        raise ValueError(
            f"Every image ({', '.join(image_endings)}) in {image_dir} must have a "
            f"sound ({', '.join(sound_endings)}) of the same scene and stem in "
            f"{sound_dir}, and vice versa; received {describe(skipped)}.{scenes} "
            "Repair the files, convert other formats with `advance prepare`, "
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
    # Only the remark is shown: bytes of another encoding fail no command.
    lines = path.read_text(encoding="utf-8-sig", errors="replace").splitlines()
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
