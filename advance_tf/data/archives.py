"""Unpacking of the published zip files: safe paths, complete or not at all."""

import pathlib
import re
import shutil
import stat
import zipfile
import zlib

from tqdm import tqdm

from advance_tf import labels
from advance_tf.locks import lock_folder

_BLOCK_BYTES = 1 << 20


def unpack(path: pathlib.Path, target: pathlib.Path, *, progress: bool = True) -> None:
    """Unpacks the scene folders of a zip file to `target`.

    Files are unpacked to a temporary folder beside `target`, which is then renamed:
    `target` exists only when it is complete. The archive may hold the scene folders
    at its top level or in <name>, ADVANCE_<name> or ADVANCE_<name>/<name>.

    Args:
        path: the zip file.
        target: folder to create; its name is "vision" or "sound".
        progress: show a progress bar.

    Raises:
        ValueError: the archive is damaged, would write outside its folder, does
            not fit on the disk, or contains no scene folder; or another process
            unpacks to `target`.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     root = pathlib.Path(folder)
        ...     with zipfile.ZipFile(root / "ADVANCE_vision.zip", "w") as archive:
        ...         archive.writestr("ADVANCE_vision/lake/00001.jpg", b"image")
        ...     unpack(root / "ADVANCE_vision.zip", root / "vision", progress=False)
        ...     (root / "vision" / "lake" / "00001.jpg").read_bytes()
        b'image'
    """
    staging = target.with_name(f".{target.name}-partial")
    with lock_folder(staging, "unpacking"):
        # What a killed process left is beside it, or in it.
        contents = staging / "files"
        shutil.rmtree(contents, ignore_errors=True)
        try:
            _extract_all(path, contents, target.parent, progress)
            _scene_root(path, contents, target.name).rename(target)
        except (zipfile.BadZipFile, EOFError, zlib.error, RuntimeError) as error:
            raise ValueError(
                f"{path} must be a valid zip file; received: {error}. Remove it and "
                "download it again."
            ) from error
        finally:
            shutil.rmtree(staging, ignore_errors=True)


def _extract_all(
    path: pathlib.Path, staging: pathlib.Path, disk: pathlib.Path, progress: bool
) -> None:
    with zipfile.ZipFile(path) as archive:
        members = [member for member in archive.infolist() if not member.is_dir()]
        for member in members:
            _check_member(path, member)
        total = sum(member.file_size for member in members)
        free = shutil.disk_usage(disk).free
        if total > free:
            raise ValueError(
                f"{disk} must have {total:,} bytes free to unpack {path}; "
                f"it has {free:,}. Free disk space or choose another `data_dir`."
            )
        bar = tqdm(
            desc=f"unpacking {path.name}",
            total=total,
            unit="B",
            unit_scale=True,
            disable=None if progress else True,
        )
        with bar:
            for member in members:
                file = staging / member.filename
                file.parent.mkdir(parents=True, exist_ok=True)
                with archive.open(member) as source, file.open("wb") as copy:
                    shutil.copyfileobj(source, copy, _BLOCK_BYTES)
                bar.update(member.file_size)


def _check_member(path: pathlib.Path, member: zipfile.ZipInfo) -> None:
    """Raises ValueError for a member that could be written outside the folder."""
    parts = re.split(r"[/\\]", member.filename)
    outside = (
        ".." in parts
        or not parts[0]
        or ":" in member.filename
        or "\\" in member.filename
    )
    if outside or stat.S_ISLNK(member.external_attr >> 16):
        raise ValueError(
            f"{path} must contain regular files below its own folder only; received "
            f"{member.filename!r}. Download the archive from its publisher."
        )


def _scene_root(path: pathlib.Path, staging: pathlib.Path, name: str) -> pathlib.Path:
    """The folder in `staging` whose subfolders are scenes."""
    archive = f"ADVANCE_{name}"
    candidates = (
        staging / name,
        staging / archive / name,
        staging / archive,
        staging,
    )
    for folder in candidates:
        if any((folder / scene).is_dir() for scene in labels.scenes()):
            return folder
    raise ValueError(
        f"{path} must contain folders named after the scenes "
        f"({', '.join(labels.scenes())}); received none of them. Use an archive of "
        "ADVANCE."
    )
