"""Files and folders of images and sounds → the examples to recognize.

The names and pairs are those of `advance predict`; a test compares them.
"""

import collections
import os
import pathlib
import unicodedata
from collections.abc import Iterator
from typing import NamedTuple

IMAGE_ENDINGS = (".jpg", ".jpeg", ".png", ".bmp", ".webp")
SOUND_ENDINGS = (".wav", ".flac", ".ogg", ".mp3")
# Formats that are not read. A file of them is reported: the other file of its pair
# would be recognized alone.
OTHER_IMAGE_ENDINGS = (
    *(".tif", ".tiff", ".gif", ".jp2", ".j2k", ".avif", ".heic", ".heif", ".jxl"),
)
OTHER_SOUND_ENDINGS = (
    *(".aif", ".aifc", ".aiff", ".au", ".caf", ".m4a", ".aac", ".mp4"),
    *(".oga", ".opus", ".rf64", ".w64", ".wma"),
)
# Entries that operating systems and archivers add to folders, in lower case.
SYSTEM_NAMES = {
    *("__macosx", "__pycache__", "thumbs.db", "ehthumbs.db", "desktop.ini"),
    *("@eadir", "$recycle.bin", "system volume information", "lost+found"),
}
_LAYOUT_FOLDERS = {"vision", "sound", "ADVANCE_vision", "ADVANCE_sound"}


class Example(NamedTuple):
    """A name, and the paths of an image, of a sound, or of both."""

    name: str
    image: pathlib.Path | None = None
    sound: pathlib.Path | None = None


def _fail(error: OSError) -> None:
    raise error


def _is_system_entry(name: str) -> bool:
    return name.startswith(".") or name.casefold() in SYSTEM_NAMES


def _visible_files(folder: pathlib.Path) -> Iterator[pathlib.Path]:
    """Files below a folder without system entries; OSError if one cannot be listed."""
    for inner, folders, names in os.walk(folder, onerror=_fail):
        folders[:] = sorted(name for name in folders if not _is_system_entry(name))
        for name in sorted(name for name in names if not _is_system_entry(name)):
            yield pathlib.Path(inner, name)


def find_files(
    paths: list[pathlib.Path], endings: tuple[str, ...], others: tuple[str, ...]
) -> tuple[dict[str, list[pathlib.Path]], list[str]]:
    """Files by name, of files and folders; a name is sub-folder and stem.

    Args:
        paths: files, which may have any ending, and folders.
        endings: of the files of a folder.
        others: endings that are reported.

    Returns:
        The files of each name, and a message for each file that is not read.

    Raises:
        OSError: a folder cannot be listed.
    """
    found, problems = collections.defaultdict(list), []
    for path in paths:
        if not path.is_dir():
            found[unicodedata.normalize("NFC", path.stem)].append(path)
            continue
        for file in _visible_files(path):
            ending = file.suffix.lower()
            if ending in others:
                problems.append(
                    f"{file} must end in one of {', '.join(endings)}; received "
                    f"'{file.suffix}'. Convert it."
                )
            elif ending in endings and not file.exists():
                problems.append(
                    f"{file} must exist; it is a link to a missing file. Remove it."
                )
            elif ending in endings:
                parts = file.relative_to(path).with_suffix("").parts
                name = "/".join(part for part in parts if part not in _LAYOUT_FOLDERS)
                found[unicodedata.normalize("NFC", name)].append(file)
    return dict(found), problems


def pair(
    images: list[pathlib.Path], sounds: list[pathlib.Path]
) -> tuple[list[Example], list[str]]:
    """Pairs images and sounds by name.

    Args:
        images: files and folders.
        sounds: files and folders.

    Returns:
        Examples in the order of their files; and a message for each file of a folder
        that is not read, and each name with more than one image or sound.

    Raises:
        OSError: a folder cannot be listed.
    """
    if len(images) == len(sounds) == 1 and not (
        images[0].is_dir() or sounds[0].is_dir()
    ):
        # Two files are one place, also under different names.
        return [Example(images[0].stem, images[0], sounds[0])], []
    of_images, problems = find_files(images, IMAGE_ENDINGS, OTHER_IMAGE_ENDINGS)
    of_sounds, further = find_files(sounds, SOUND_ENDINGS, OTHER_SOUND_ENDINGS)
    examples, problems = [], problems + further
    for name in of_images | of_sounds:
        files = [by_name.get(name, []) for by_name in (of_images, of_sounds)]
        double = [paths for paths in files if len(paths) > 1]
        if double:
            received = " and ".join(map(str, double[0]))
            problems.append(
                f"A name must have one image and one sound; received {received}."
            )
        else:
            examples.append(
                Example(name, *(next(iter(paths), None) for paths in files))
            )
    return examples, problems
