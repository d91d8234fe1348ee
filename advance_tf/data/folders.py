"""A folder of classes, to pretrain the image tower on."""

import dataclasses
import hashlib
import pathlib

IMAGE_ENDINGS = (".jpg", ".jpeg", ".png", ".bmp", ".webp")


@dataclasses.dataclass(frozen=True)
class ImageFolder:
    """Images by class.

    Attributes:
        classes: names of the sub-folders, sorted.
        training: (path relative to the folder, class index) of each image.
        validation: the same, no image in both.
    """

    classes: tuple[str, ...]
    training: tuple[tuple[str, int], ...]
    validation: tuple[tuple[str, int], ...]


def _draw(seed: int, path: str) -> str:
    """A place in the order of drawing that no OS or file order changes."""
    return hashlib.sha256(f"{seed}:{path}".encode()).hexdigest()


def read_image_folder(
    folder: str | pathlib.Path, validation_fraction: float = 0.2, seed: int = 0
) -> ImageFolder:
    """Lists <folder>/<class>/<image> and draws validation images of each class.

    Args:
        folder: with one sub-folder for each class.
        validation_fraction: share of each class, in (0, 1), rounded, at least
            one image.
        seed: of the draw.

    Returns:
        Classes sorted by name, images sorted by path.

    Raises:
        ValueError: there are fewer than two classes, or a class has fewer than
            two images.
    """
    root = pathlib.Path(folder)
    if not 0 < validation_fraction < 1:
        raise ValueError(
            "--validation_fraction must lie between 0 and 1; received "
            f"{validation_fraction}."
        )
    classes = (
        sorted(p.name for p in root.iterdir() if p.is_dir()) if root.exists() else []
    )
    if len(classes) < 2:
        raise ValueError(
            f"--data_dir must hold a sub-folder for each of at least two classes; "
            f"{root} has {len(classes)}."
        )
    training: list[tuple[str, int]] = []
    validation: list[tuple[str, int]] = []
    for index, name in enumerate(classes):
        paths = sorted(
            f"{name}/{path.name}"
            for path in (root / name).iterdir()
            if path.suffix.lower() in IMAGE_ENDINGS
        )
        if len(paths) < 2:
            raise ValueError(
                f"Each class must have at least two images ({', '.join(IMAGE_ENDINGS)}"
                f"); '{name}' has {len(paths)}."
            )
        count = min(max(1, round(validation_fraction * len(paths))), len(paths) - 1)
        held_out = set(sorted(paths, key=lambda path: _draw(seed, path))[:count])
        training += [(path, index) for path in paths if path not in held_out]
        validation += [(path, index) for path in sorted(held_out)]
    return ImageFolder(tuple(classes), tuple(training), tuple(validation))
