"""Shards: the pairs of a folder in a few large files, which read like the folder.

A folder of shards has

- `pairs-00000.tfrecord`, …: one `tf.train.Example` for each pair, with the bytes of its
  files (`image`, `sound`), and `stem`, `scene`, `site`, `image_path`, `sound_path`;
- `pairs.csv`: the pairs in order, with the file and the offset of each record;
- `shards.json`: the schema, and pairs, bytes and SHA-256 of every file.

Manifests, splits and batches are those of the folder: a pair keeps its paths, and is
read by its offset in the order of seed and epoch.
"""

import csv
import functools
import hashlib
import json
import os
import pathlib
import shutil
import unicodedata
from collections.abc import Sequence
from typing import Any

from advance_tf.checksums import file_sha256
from advance_tf.data.pairing import Pair, modality_folders
from advance_tf.files import (
    PARTIAL_SECONDS,
    reading,
    remove_partial_files,
    replacing,
)
from advance_tf.parts import Parts, Shard

INDEX, PAIRS = "shards.json", "pairs.csv"
FORMAT = "advance_tf.shards"
FORMAT_VERSION = 1
PAIRS_PER_FILE = 512
_COLUMNS = ("stem", "scene", "site", "image", "sound", "file", "offset")
_SCHEMA = (*("image", "sound", "stem", "scene", "site", "image_path", "sound_path"),)
# Files of a data set that are read beside its pairs: the label, and the sites.
_BESIDE = ("NOTICE.txt", "sites.csv")
_WAY_OUT = (
    "Restore it from a copy, or remove it and write the shards again with `advance "
    "prepare`."
)
# Length and its CRC before a record of TFRecord, and a CRC behind it.
_FRAME_BYTES = 16


class ShardIndex:
    """The pairs of a folder of shards, and the address of each file.

    Args:
        folder: the folder.

    Raises:
        ValueError: the index is damaged, or a shard is missing or cut off.
    """

    def __init__(self, folder: str | pathlib.Path) -> None:
        self.folder = pathlib.Path(folder)
        with reading(self.folder / INDEX, "be an index of shards", _WAY_OUT):
            contents = json.loads((self.folder / INDEX).read_text(encoding="utf-8"))
            self.version = int(contents["version"])
            self.files: dict[str, dict[str, Any]] = {
                str(one["file"]): {name: one[name] for name in ("bytes", "sha256")}
                for one in contents["files"]
            }
            pairs_sha256 = contents["pairs_sha256"]
        if self.version != FORMAT_VERSION:
            raise ValueError(
                f"{self.folder / INDEX} must have the version {FORMAT_VERSION}; "
                f"received {self.version}. {_WAY_OUT}"
            )
        self._check_sizes()
        path = self.folder / PAIRS
        if not path.is_file() or file_sha256(path) != pairs_sha256:
            raise ValueError(_damage(path, "its SHA-256 differs from the index"))
        pairs, self._heads = [], {}
        with path.open(newline="", encoding="utf-8") as file:
            for stem, scene, site, image, sound, name, offset in list(csv.reader(file))[
                1:
            ]:
                pairs.append(Pair(stem, scene, site, image, sound))
                self._heads[stem] = (name, int(offset))
        self.pairs = tuple(pairs)

    def _check_sizes(self) -> None:
        for name, one in self.files.items():
            path = self.folder / name
            size = path.stat().st_size if path.is_file() else -1
            if size != one["bytes"]:
                received = "it is missing" if size < 0 else f"it has {size} bytes"
                rule = f"it must have {one['bytes']} bytes; {received}"
                raise ValueError(_damage(path, rule))

    def address(self, relative: str) -> str:
        """The address of a file of a pair.

        Args:
            relative: its path in the folder that the shards were written from.

        Returns:
            What `features.media_files.read_media` reads.

        Raises:
            ValueError: the shards have no such pair.
        """
        name = relative.rpartition("/")[2]
        stem = unicodedata.normalize("NFC", os.path.splitext(name)[0])
        if stem not in self._heads:
            raise ValueError(
                f"The shards in {self.folder} must have every pair of the manifest; "
                f"{relative} is missing. Use the manifest of these shards."
            )
        file, offset = self._heads[stem]
        return f"{self.folder}{os.sep}{file}@{offset}/{name}"

    def verify(self) -> None:
        """Checks the SHA-256 of every shard.

        Raises:
            ValueError: a shard is damaged; the message names it.
        """
        for name, one in self.files.items():
            if file_sha256(self.folder / name) != one["sha256"]:
                raise ValueError(
                    _damage(self.folder / name, "its SHA-256 differs from the index")
                )


def _damage(path: pathlib.Path, problem: str) -> str:
    return f"The shard {path} is damaged: {problem}. {_WAY_OUT}"


def is_shards(data_dir: str | pathlib.Path) -> bool:
    """Whether a folder is one of shards."""
    return os.path.isfile(os.path.join(data_dir, INDEX))


def open_shards(data_dir: str | pathlib.Path) -> ShardIndex:
    """The index of a folder of shards, read once while it is unchanged.

    Args:
        data_dir: the folder.

    Returns:
        The index.

    Raises:
        ValueError: the index is damaged, or a shard is missing or cut off.
    """
    changed = os.stat(os.path.join(data_dir, INDEX)).st_mtime_ns
    return _open(str(data_dir), changed)


@functools.lru_cache(4)
def _open(data_dir: str, changed: int) -> ShardIndex:
    return ShardIndex(data_dir)


def media_path(data_dir: str | pathlib.Path, relative: str) -> str:
    """The path of a file of a pair, or its address in a shard.

    Args:
        data_dir: folder of the data set, or of its shards.
        relative: path of `Pair.image` or `Pair.sound`.

    Returns:
        What `features.media_files.read_media` reads.

    >>> media_path("ADVANCE", "vision/lake/1.jpg")
    'ADVANCE/vision/lake/1.jpg'
    """
    if is_shards(data_dir):
        return open_shards(data_dir).address(relative)
    return str(pathlib.Path(data_dir, relative))


def media_state(data_dir: str | pathlib.Path, relative: str) -> tuple[str, int, int]:
    """What changes when a file of a pair changes.

    Args:
        data_dir: folder of the data set, or of its shards.
        relative: path of `Pair.image` or `Pair.sound`.

    Returns:
        Its path or address, and size and modification time of the file on disk.

    Raises:
        FileNotFoundError: the file does not exist.
    """
    # Not at the top: TensorFlow is loaded with it.
    from advance_tf.features.media_files import container

    path = media_path(data_dir, relative)
    status = os.stat(container(path))
    return path, status.st_size, status.st_mtime_ns


def write_shards(
    data_dir: str | pathlib.Path,
    pairs: Sequence[Pair],
    shards_dir: str | pathlib.Path,
    *,
    shard: Shard | None = None,
    pairs_per_file: int = PAIRS_PER_FILE,
) -> int:
    """Packs the pairs of a folder into shards.

    Files that are complete are not written again, so that a second call resumes an
    interrupted one. The call that finds all files complete writes the index.

    Args:
        data_dir: folder in ADVANCE's layout.
        pairs: its pairs, as `layout.scan` returns them.
        shards_dir: folder to write.
        shard: this process of several; None for one.
        pairs_per_file: pairs in a file, except the last.

    Returns:
        The number of files that other processes have not written.

    Raises:
        ValueError: the source is a folder of shards, the target holds a folder of
            images or sounds, or shards of other pairs or of files that were changed
            since.
        OSError: a file cannot be read or written.
    """
    root, folder = pathlib.Path(data_dir), pathlib.Path(shards_dir)
    _check_folders(root, folder)
    digest = hashlib.sha256()
    for pair in pairs:
        states = [os.stat(root / name) for name in (pair.image, pair.sound)]
        fields = [
            *(pair.stem, pair.scene, pair.site, pair.image, pair.sound),
            *((one.st_size, one.st_mtime_ns) for one in states),
        ]
        digest.update(json.dumps(fields).encode())
    settings = {"format": FORMAT, "pairs_sha256": digest.hexdigest()}
    parts = Parts(folder / "parts", settings, len(pairs), pairs_per_file, ".json")
    parts.begin()
    for depth in (0, 1):
        # Other processes write to the folder too.
        remove_partial_files(folder, depth, min_age_seconds=PARTIAL_SECONDS)
    _forget_damaged(folder, parts)
    for start in parts.missing(shard):
        name = f"pairs-{start // pairs_per_file:05d}.tfrecord"
        own = pairs[start : start + pairs_per_file]
        with replacing(folder / name) as temporary:
            offsets = _write_records(root, own, temporary)
            described = {
                "file": name,
                "pairs": len(own),
                "bytes": temporary.stat().st_size,
                "sha256": file_sha256(temporary),
            }
        with replacing(parts.path(start)) as temporary:
            temporary.write_text(json.dumps({**described, "offsets": offsets}))
    missing = len(parts.missing())
    if not missing:
        for beside in _BESIDE:
            if (root / beside).is_file():
                shutil.copyfile(root / beside, folder / beside)
        _write_index(folder, pairs, parts)
    return missing


def _check_folders(root: pathlib.Path, folder: pathlib.Path) -> None:
    """Raises ValueError unless the source is a folder of files and the target is not.

    Shards beside the files would replace them: every command reads the shards.
    """
    if is_shards(root):
        raise ValueError(
            f"{root} must be a folder of files to pack; it holds shards. Use the "
            "folder that they were written from, or copy the shards."
        )
    files = modality_folders(folder, "vision") + modality_folders(folder, "sound")
    if files:
        raise ValueError(
            f"{folder} must be a folder of its own for the shards; it holds the files "
            f"{' and '.join(map(str, files))}. Use another one."
        )


def _forget_damaged(folder: pathlib.Path, parts: Parts) -> None:
    """Marks parts as missing whose file is missing or has another size."""
    for start in parts.starts:
        path = parts.path(start)
        if path.exists():
            part = json.loads(path.read_text(encoding="utf-8"))
            file = folder / part["file"]
            if not file.is_file() or file.stat().st_size != part["bytes"]:
                path.unlink(missing_ok=True)


def _write_records(
    root: pathlib.Path, pairs: Sequence[Pair], path: pathlib.Path
) -> list[int]:
    """Writes the records of pairs; returns the offset of each."""
    import tensorflow as tf

    offsets, position = [], 0
    with tf.io.TFRecordWriter(str(path)) as writer:
        for pair in pairs:
            values = {
                "image": (root / pair.image).read_bytes(),
                "sound": (root / pair.sound).read_bytes(),
                "stem": pair.stem.encode(),
                "scene": pair.scene.encode(),
                "site": pair.site.encode(),
                "image_path": pair.image.encode(),
                "sound_path": pair.sound.encode(),
            }
            feature = {
                name: tf.train.Feature(bytes_list=tf.train.BytesList(value=[value]))
                for name, value in values.items()
            }
            features = tf.train.Features(feature=feature)
            record = tf.train.Example(features=features).SerializeToString(
                deterministic=True
            )
            writer.write(record)
            offsets.append(position)
            position += len(record) + _FRAME_BYTES
    return offsets


def _write_index(folder: pathlib.Path, pairs: Sequence[Pair], parts: Parts) -> None:
    files = []
    with replacing(folder / PAIRS) as temporary:
        with temporary.open("w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file, lineterminator="\n")
            writer.writerow(_COLUMNS)
            for start in parts.starts:
                one = json.loads(parts.path(start).read_text())
                offsets = one.pop("offsets")
                files.append(one)
                for pair, offset in zip(pairs[start:], offsets, strict=False):
                    values = (pair.stem, pair.scene, pair.site, pair.image, pair.sound)
                    writer.writerow((*values, one["file"], offset))
        pairs_sha256 = file_sha256(temporary)
    contents = {
        "format": FORMAT,
        "version": FORMAT_VERSION,
        "schema": dict.fromkeys(_SCHEMA, "bytes"),
        "pairs": len(pairs),
        "pairs_sha256": pairs_sha256,
        "files": files,
    }
    with replacing(folder / INDEX) as temporary:
        temporary.write_text(json.dumps(contents, indent=1) + "\n", encoding="utf-8")
