"""The files to predict: an image, a sound, or both of one place."""

import collections
import dataclasses
import pathlib

from advance_tf.data.layout import IMAGE_ENDINGS, SOUND_ENDINGS

# Without these a folder of recordings would look like a folder of nothing.
_OTHER_SOUND_ENDINGS = (".aif", ".aiff", ".flac", ".m4a", ".mp3", ".ogg", ".opus")
_LAYOUT_FOLDERS = {"vision", "sound", "ADVANCE_vision", "ADVANCE_sound"}


@dataclasses.dataclass(frozen=True)
class Example:
    """One place to recognize.

    Attributes:
        name: the stem, with the scene folder before it where there is one.
        image: path of its image or None.
        sound: path of its sound or None.
    """

    name: str
    image: pathlib.Path | None = None
    sound: pathlib.Path | None = None

    def __post_init__(self):
        if self.image is None and self.sound is None:
            raise ValueError(
                f"Example '{self.name}' must have an image or a sound; received "
                "neither."
            )


@dataclasses.dataclass(frozen=True)
class Failure:
    """A file or example that could not be read.

    Attributes:
        name: of the example.
        message: what is wrong; it names the file.
    """

    name: str
    message: str


def _name_of(relative: pathlib.PurePath) -> str:
    """The example that a file belongs to: same stem in the same scene folder."""
    folders = [part for part in relative.parts[:-1] if part not in _LAYOUT_FOLDERS]
    return "/".join([*folders, relative.stem])


def _is_hidden(relative: pathlib.PurePath) -> bool:
    return any(part.startswith((".", "__MACOSX")) for part in relative.parts)


def find_examples(
    folder: str | pathlib.Path,
) -> tuple[tuple[Example, ...], tuple[Failure, ...]]:
    """Pairs the images and sounds below a folder by stem.

    Args:
        folder: holds images and sounds side by side, or in ADVANCE's layout
            (vision/<scene>/<stem>.jpg, sound/<scene>/<stem>.wav), at any depth.

    Returns:
        Examples sorted by name; and what is left out: sounds in formats that
        need converting, and examples with two files of a kind.

    Raises:
        ValueError: the folder is missing or holds neither images nor sounds.
    """
    root = pathlib.Path(folder)
    if not root.is_dir():
        raise ValueError(f"--data_dir must be a folder; received {root}.")
    images = collections.defaultdict(list)
    sounds = collections.defaultdict(list)
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
            failures.append(Failure(name, not_wav(path)))
    examples = []
    for name in sorted(images.keys() | sounds.keys()):
        twice = [found for found in (images[name], sounds[name]) if len(found) > 1]
        if twice:
            paths = " and ".join(str(path) for path in twice[0])
            failures.append(
                Failure(name, f"A stem must have one file of a kind; received {paths}.")
            )
            continue
        image, sound = (next(iter(found[name]), None) for found in (images, sounds))
        examples.append(Example(name, image, sound))
    if not examples and not failures:
        raise ValueError(
            f"{root} must hold images ({', '.join(IMAGE_ENDINGS)}) or sounds "
            f"({', '.join(SOUND_ENDINGS)}); received neither."
        )
    return tuple(examples), tuple(failures)


def not_wav(path: pathlib.Path) -> str:
    """What to say of a sound in another format."""
    return (
        f"The sound {path} must be a WAV file; received '{path.suffix}'. Convert it "
        "with `python -m advance_tf.prepare`."
    )
