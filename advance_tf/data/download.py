"""ADVANCE from Zenodo: sizes, checksums, resumed downloads, safe unpacking."""

import dataclasses
import errno
import hashlib
import http.client
import pathlib
import re
import shutil
import time
import urllib.error
import urllib.request

from tqdm import tqdm

from advance_tf.data import unpack

BASE_URL = "https://zenodo.org/records/3828124/files"
_BLOCK_BYTES = 1 << 20
_TIMEOUT_SECONDS = 60
_LONGEST_WAIT_SECONDS = 60.0
# What a server answers when it is busy, not when the request is wrong.
_RETRIED_STATUS = (408, 425, 429, 500, 502, 503, 504)


@dataclasses.dataclass(frozen=True)
class Archive:
    """A published archive: its name, its md5, and the folder that it holds."""

    name: str
    md5: str
    folder: str


ARCHIVES = (
    Archive("ADVANCE_vision.zip", "a9e8748219ef5864d3b5a8979a67b471", "vision"),
    Archive("ADVANCE_sound.zip", "a2d12f2d2a64f5c3d3a9d8c09aaf1c31", "sound"),
)


class _DroppedError(Exception):
    """The connection ended too early, or the server was busy."""


def download(
    data_dir: str | pathlib.Path,
    base_url: str = BASE_URL,
    archives: tuple[Archive, ...] = ARCHIVES,
    *,
    keep_archives: bool = False,
    retries: int = 5,
    wait_seconds: float = 1.0,
    progress: bool = True,
) -> list[str]:
    """Downloads, checks and unpacks the archives; what is there is skipped.

    Args:
        data_dir: gets vision/ and sound/; made if need be.
        base_url: where the archives lie, http or https.
        archives: what to get.
        keep_archives: keep the zip files after they are unpacked.
        retries: attempts in a row that may bring nothing before it gives up.
        wait_seconds: pause before the first of them, doubled for each next.
        progress: show progress bars.

    Returns:
        The folders that were newly made, in the order of `archives`.

    Raises:
        ValueError: a checksum differs, the disk is too small, the server refuses
            or is out of reach, or an archive is not sound. What was downloaded
            stays and the next call goes on from there, unless its checksum was
            wrong.
    """
    root = pathlib.Path(data_dir)
    if not base_url.startswith(("http://", "https://")):
        raise ValueError(
            f"--base_url must begin with http:// or https://; received {base_url!r}."
        )
    root.mkdir(parents=True, exist_ok=True)
    made = []
    for archive in archives:
        target = root / archive.folder
        if target.is_dir():
            continue
        path = fetch(
            archive,
            f"{base_url.rstrip('/')}/{archive.name}",
            root,
            retries=retries,
            wait_seconds=wait_seconds,
            progress=progress,
        )
        unpack.unpack(path, target, progress=progress)
        if not keep_archives:
            path.unlink()
        made.append(archive.folder)
    return made


def fetch(
    archive: Archive,
    url: str,
    folder: pathlib.Path,
    *,
    retries: int = 5,
    wait_seconds: float = 1.0,
    progress: bool = True,
) -> pathlib.Path:
    """Downloads one archive to <folder>/<name> and verifies its md5.

    Bytes go to <name>.part, which a later call resumes by an HTTP Range request;
    only a verified file gets its name.

    Args:
        archive: name and checksum.
        url: where it lies.
        folder: where it goes.
        retries: attempts in a row that may bring nothing before it gives up.
        wait_seconds: pause before the first of them, doubled for each next.
        progress: show a progress bar.

    Returns:
        The path of the verified file.

    Raises:
        ValueError: as for `download`.
    """
    path = folder / archive.name
    if path.exists():
        _verify(archive, path, _hash_file(path, progress).hexdigest())
        return path
    part = folder / f"{archive.name}.part"
    part.touch()
    transfer = _Download(url, part, progress)
    failures, furthest = 0, part.stat().st_size
    while True:
        try:
            transfer.attempt()
            break
        except (_DroppedError, OSError, http.client.HTTPException) as error:
            if isinstance(error, OSError) and error.errno == errno.ENOSPC:
                raise  # A full disk does not empty itself by waiting.
            # A server without Range begins anew: only new ground is progress.
            failures = 0 if part.stat().st_size > furthest else failures + 1
            furthest = max(furthest, part.stat().st_size)
            if failures > retries:
                raise ValueError(
                    f"{url} must be reachable; {failures} attempts in a row brought "
                    f"nothing, the last one ended with: {error}. Run the program "
                    f"again later: it goes on after {part.stat().st_size:,} bytes."
                ) from error
            time.sleep(min(wait_seconds * 2**failures, _LONGEST_WAIT_SECONDS))
        finally:
            transfer.close_bar()
    _verify(archive, part, transfer.digest.hexdigest())
    part.replace(path)
    return path


class _Download:
    """One file on its way: bytes so far, their md5, a progress bar."""

    def __init__(self, url: str, part: pathlib.Path, progress: bool):
        self.url = url
        self.part = part
        self.progress = progress
        self.digest = _hash_file(part, progress)
        self.bar: tqdm | None = None

    def close_bar(self) -> None:
        if self.bar is not None:
            self.bar.close()
            self.bar = None

    def attempt(self) -> None:
        """Asks for what is missing; returns when all of it is there."""
        done = self.part.stat().st_size
        headers = {"User-Agent": "advance_tf", "Accept-Encoding": "identity"}
        if done:
            headers["Range"] = f"bytes={done}-"
        request = urllib.request.Request(self.url, headers=headers)
        try:
            response = urllib.request.urlopen(request, timeout=_TIMEOUT_SECONDS)
        except urllib.error.HTTPError as error:
            self._refused(error, done)
            return
        with response:
            begin, total = _extent(response)
            if begin != done:
                self._restart(begin)
            self._check_disk(total)
            self._receive(response, begin, total)

    def _refused(self, error: urllib.error.HTTPError, done: int) -> None:
        """Returns when nothing was missing; else raises what that answer means."""
        with error:
            total = _total(error.headers.get("Content-Range", ""))
            if error.code == 416 and total == done:
                return
            if error.code == 416:
                self._restart(0)
                raise _DroppedError("the part was longer than the file") from error
            if error.code in _RETRIED_STATUS:
                raise _DroppedError(f"HTTP {error.code} {error.reason}") from error
            raise ValueError(
                f"{self.url} must be there; the server answered HTTP {error.code} "
                f"{error.reason}. Check --base_url."
            ) from error

    def _restart(self, begin: int) -> None:
        """Drops the part when the server sends the whole file once more."""
        if begin != 0:
            raise ValueError(
                f"{self.url} must be sent from byte {self.part.stat().st_size}; the "
                f"server sent it from {begin}. Remove {self.part} and run again."
            )
        self.part.write_bytes(b"")
        self.digest = hashlib.md5(usedforsecurity=False)

    def _check_disk(self, total: int | None) -> None:
        missing = (total or 0) - self.part.stat().st_size
        free = shutil.disk_usage(self.part.parent).free
        if missing > free:
            raise ValueError(
                f"{self.part.parent} must have {missing:,} bytes free for the rest of "
                f"{self.part.stem}; it has {free:,}. Free some or use another "
                "--data_dir."
            )

    def _receive(self, response, begin: int, total: int | None) -> None:
        self.bar = tqdm(
            desc=self.part.stem,
            total=total,
            initial=begin,
            unit="B",
            unit_scale=True,
            disable=not self.progress,
        )
        received = begin
        with self.part.open("ab") as file:
            while block := response.read1(_BLOCK_BYTES):
                file.write(block)
                self.digest.update(block)
                self.bar.update(len(block))
                received += len(block)
        # A dropped connection may look like an end: only the length tells.
        if total is not None and received < total:
            raise _DroppedError(f"only {received:,} of {total:,} bytes came")


def _extent(response) -> tuple[int, int | None]:
    """First byte of a response, and the length of the whole file if it says so."""
    if response.status == 206:
        value = response.headers.get("Content-Range", "")
        match = re.match(r"bytes (\d+)-", value)
        if match:
            return int(match.group(1)), _total(value)
        raise ValueError(
            f"{response.url} must say which bytes it sends; its Content-Range is "
            f"{value!r}. Remove the .part file and run again."
        )
    length = response.headers.get("Content-Length")
    return 0, int(length) if length else None


def _total(content_range: str) -> int | None:
    match = re.search(r"/(\d+)$", content_range)
    return int(match.group(1)) if match else None


def _hash_file(path: pathlib.Path, progress: bool):
    """The md5 of what a file holds so far."""
    digest = hashlib.md5(usedforsecurity=False)
    size = path.stat().st_size
    bar = tqdm(
        desc=f"checking {path.name}",
        total=size,
        unit="B",
        unit_scale=True,
        disable=not (progress and size),
    )
    with bar, path.open("rb") as file:
        while block := file.read(_BLOCK_BYTES):
            digest.update(block)
            bar.update(len(block))
    return digest


def _verify(archive: Archive, path: pathlib.Path, received: str) -> None:
    """Raises ValueError, and removes a part, when the md5 is another."""
    if received == archive.md5:
        return
    size = path.stat().st_size
    if path.suffix == ".part":
        path.unlink()
        way_out = "It was removed: run the program again."
    else:
        way_out = "Remove it and run the program again."
    raise ValueError(
        f"{path} must have md5 {archive.md5}; its {size:,} bytes have {received}. "
        f"{way_out}"
    )
