"""The examples to predict: an image, a sound, or both of one place."""

import dataclasses
import os
import pathlib
import unicodedata
from collections.abc import Mapping
from typing import Any

import numpy as np

from advance_tf.data.pairing import (
    IMAGE_ENDINGS,
    OTHER_IMAGE_ENDINGS,
    OTHER_SOUND_ENDINGS,
    SOUND_ENDINGS,
)
from advance_tf.data.shards import is_shards, open_shards
from advance_tf.features.sources import ImageSource, SoundSource
from advance_tf.files import is_utf8, visible_files
from advance_tf.inference.prediction import Prediction

_LAYOUT_FOLDERS = {"vision", "sound", "ADVANCE_vision", "ADVANCE_sound"}


@dataclasses.dataclass(frozen=True, eq=False, slots=True)
class Example:
    """One place to recognize.

    Attributes:
        name: the stem, with the scene folder before it where there is one.
        image: path, bytes of a file, or uint8 [H, W, 3]; None for no image.
        sound: path, bytes of a WAV file, or a pair of float [n] or [n, channels]
            and its rate in Hz; None for no sound.

    Example:
        >>> Example.of(("lake/1.jpg", "lake/1.wav")).name
        '1'
        >>> Example.of({"image": "a.jpg", "name": "harbour"}).name
        'harbour'
    """

    name: str
    image: ImageSource | None = None
    sound: SoundSource | None = None

    def __post_init__(self) -> None:
        """Raises ValueError when image and sound are missing."""
        object.__setattr__(self, "sound", _without_rate(self.sound))
        if self.image is None and self.sound is None:
            raise ValueError(
                f"Example '{self.name}' must have an image or a sound; received "
                "neither."
            )

    @classmethod
    def of(cls, value: Any, number: int = 0) -> "Example":
        """An example of any form that `predict_batch` takes.

        Args:
            value: an `Example`, a mapping with the keys image, sound, rate_hz
                and name, or a pair (image, sound). rate_hz is the rate of a sound
                array; a file has its own.
            number: names an example that has no path.

        Returns:
            The example.

        Raises:
            ValueError: it has neither image nor sound, or another form.
        """
        if isinstance(value, cls):
            return value
        if isinstance(value, Mapping):
            unknown = sorted(set(value) - {"image", "sound", "name", "rate_hz"})
            if unknown:
                raise ValueError(
                    "An example must have the keys image, sound, rate_hz and name; "
                    f"received {', '.join(map(str, unknown))}."
                )
            image, sound = value.get("image"), value.get("sound")
            if value.get("rate_hz") is not None and isinstance(sound, np.ndarray):
                sound = (sound, value["rate_hz"])
            name = value.get("name")
        elif isinstance(value, tuple | list) and len(value) == 2:
            (image, sound), name = value, None
        else:
            received = type(value).__name__
            if isinstance(value, tuple | list):
                received += f" of length {len(value)}"
            raise ValueError(
                "An example must be an Example, a mapping or a pair (image, sound); "
                f"received {received}. Pass a mapping with the keys image, sound, "
                "rate_hz and name."
            )
        sound = _without_rate(sound)
        return cls(name or _stem(image) or _stem(sound) or str(number), image, sound)


def _without_rate(sound: Any) -> Any:
    """The file of a pair (file, rate); any other sound unchanged."""
    if isinstance(sound, tuple) and len(sound) == 2:
        return sound if isinstance(sound[0], np.ndarray) else sound[0]
    return sound


def _stem(source: Any) -> str:
    return pathlib.Path(source).stem if isinstance(source, str | pathlib.Path) else ""


def path_text(source: Any) -> str | None:
    """The path of a source as text, None for an array or bytes."""
    return str(source) if isinstance(source, str | pathlib.Path) else None


def _name_of(relative: str) -> str:
    """Name of the example of a file: its scene folder, if any, and its stem."""
    *folders, name = relative.split(os.sep)
    parts = [part for part in folders if part not in _LAYOUT_FOLDERS]
    joined = "/".join([*parts, os.path.splitext(name)[0]])
    if joined.isascii():
        return joined
    composed = unicodedata.normalize("NFC", joined)
    return composed if is_utf8(composed) else ascii(composed)[1:-1]


def find_examples(
    folder: str | pathlib.Path,
) -> tuple[tuple[Example, ...], tuple[Prediction, ...]]:
    """Pairs the images and sounds below a folder by stem.

    Args:
        folder: holds images and sounds side by side, or in ADVANCE's layout
            (vision/<scene>/<stem>.jpg, sound/<scene>/<stem>.wav), at any depth.

    Returns:
        Examples sorted by name; and predictions whose status states why a file
        is left out: it has a format that is not read, its name is not UTF-8, it is a
        link to a missing file, or two images or two sounds have one stem.

    Raises:
        ValueError: the folder is missing or holds neither images nor sounds.
    """
    root = pathlib.Path(folder)
    if not root.is_dir():
        raise ValueError(
            f"data_dir must be a folder; received {root}, which does not exist or is "
            "a file."
        )
    if is_shards(root):
        index = open_shards(root)
        given = (
            (f"{one.scene}/{one.stem}", one.image, one.sound) for one in index.pairs
        )
        return tuple(
            Example(name, index.address(image), index.address(sound))
            for name, image, sound in given
        ), ()
    # Name → path of the image and of the sound; lists only for repeated names.
    found: tuple[dict[str, str], dict[str, str]] = ({}, {})
    repeated: dict[str, list[str]] = {}
    failures = []
    for path, relative in visible_files(root):
        ending, name = os.path.splitext(path)[1].lower(), _name_of(relative)
        problem = _problem_of(path, ending)
        if problem:
            failures.append(Prediction(name, status=problem))
            continue
        for files, endings in zip(found, (IMAGE_ENDINGS, SOUND_ENDINGS), strict=True):
            if ending in endings and files.setdefault(name, path) != path:
                repeated.setdefault(name, [files[name]]).append(path)
    images, sounds = found
    for name in sorted(repeated):
        status = (
            "A stem must have at most one image and one sound; received "
            f"{' and '.join(repeated[name])}. Rename or remove one."
        )
        failures.append(Prediction(name, status=status))
    examples = [
        Example(name, images.get(name), sounds.get(name))
        for name in sorted(images.keys() | sounds.keys())
        if name not in repeated
    ]
    if not examples and not failures:
        raise ValueError(
            f"{root} must hold images ({', '.join(IMAGE_ENDINGS)}) or sounds "
            f"({', '.join(SOUND_ENDINGS)}); received neither. Give another folder."
        )
    return tuple(examples), tuple(failures)


def _problem_of(path: str, ending: str) -> str:
    """Why a file is left out; "" for one to predict and for one that is neither."""
    if ending in OTHER_SOUND_ENDINGS:
        return not_wav(pathlib.Path(path))
    if ending in OTHER_IMAGE_ENDINGS:
        return (
            f"The image {path} must end in one of {', '.join(IMAGE_ENDINGS)}; received "
            f"'{ending}'. Convert it with `advance prepare`."
        )
    if ending not in (*IMAGE_ENDINGS, *SOUND_ENDINGS):
        return ""
    if not is_utf8(path):
        return f"The name of a file must be UTF-8; received {path!a}. Rename it."
    if not os.path.exists(path):
        return f"The file {path} must exist; it is a link to a missing file. Remove it."
    return ""


def not_wav(path: pathlib.Path) -> str:
    """The error message for a sound whose format is not WAV."""
    return (
        f"The sound {path} must be a WAV file; received '{path.suffix}'. Convert it "
        "with `advance prepare`."
    )
