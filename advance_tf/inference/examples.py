"""The examples to predict: an image, a sound, or both of one place."""

import collections
import dataclasses
import pathlib
from collections.abc import Mapping
from typing import Any

import numpy as np

from advance_tf.data.layout import IMAGE_ENDINGS, SOUND_ENDINGS
from advance_tf.features.frontend import ImageSource, SoundSource
from advance_tf.inference.prediction import Prediction

# Formats that are reported as not supported instead of ignored.
_OTHER_SOUND_ENDINGS = (".aif", ".aiff", ".flac", ".m4a", ".mp3", ".ogg", ".opus")
_LAYOUT_FOLDERS = {"vision", "sound", "ADVANCE_vision", "ADVANCE_sound"}


@dataclasses.dataclass(frozen=True, eq=False)
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


def _name_of(relative: pathlib.PurePath) -> str:
    """Name of the example of a file: its scene folder, if any, and its stem."""
    folders = [part for part in relative.parts[:-1] if part not in _LAYOUT_FOLDERS]
    return "/".join([*folders, relative.stem])


def _is_hidden(relative: pathlib.PurePath) -> bool:
    return any(part.startswith((".", "__MACOSX")) for part in relative.parts)


def find_examples(
    folder: str | pathlib.Path,
) -> tuple[tuple[Example, ...], tuple[Prediction, ...]]:
    """Pairs the images and sounds below a folder by stem.

    Args:
        folder: holds images and sounds side by side, or in ADVANCE's layout
            (vision/<scene>/<stem>.jpg, sound/<scene>/<stem>.wav), at any depth.

    Returns:
        Examples sorted by name; and predictions whose status states why a file
        is left out: the sound is not WAV, or two images or two sounds have one
        stem.

    Raises:
        ValueError: the folder is missing or holds neither images nor sounds.
    """
    root = pathlib.Path(folder)
    if not root.is_dir():
        raise ValueError(
            f"data_dir must be a folder; received {root}, which does not exist or is "
            "a file."
        )
    images: dict[str, list[pathlib.Path]] = collections.defaultdict(list)
    sounds: dict[str, list[pathlib.Path]] = collections.defaultdict(list)
    failures = []
    for path in sorted(root.rglob("*")):
        relative = path.relative_to(root)
        if _is_hidden(relative) or not path.is_file():
            continue
        ending, name = path.suffix.lower(), _name_of(relative)
        if ending in IMAGE_ENDINGS:
            images[name].append(path)
        elif ending in SOUND_ENDINGS:
            sounds[name].append(path)
        elif ending in _OTHER_SOUND_ENDINGS:
            failures.append(Prediction(name, status=not_wav(path)))
    examples = []
    for name in sorted(images.keys() | sounds.keys()):
        double = [found for found in (images[name], sounds[name]) if len(found) > 1]
        if double:
            paths = " and ".join(str(path) for path in double[0])
            status = (
                "A stem must have at most one image and one sound; received "
                f"{paths}. Rename or remove one."
            )
            failures.append(Prediction(name, status=status))
            continue
        image, sound = (next(iter(found[name]), None) for found in (images, sounds))
        examples.append(Example(name, image, sound))
    if not examples and not failures:
        raise ValueError(
            f"{root} must hold images ({', '.join(IMAGE_ENDINGS)}) or sounds "
            f"({', '.join(SOUND_ENDINGS)}); received neither. Give another folder."
        )
    return tuple(examples), tuple(failures)


def not_wav(path: pathlib.Path) -> str:
    """The error message for a sound whose format is not WAV."""
    return (
        f"The sound {path} must be a WAV file; received '{path.suffix}'. Convert it "
        "with `advance prepare`."
    )
