"""Downloads ADVANCE from Zenodo: resumed transfers, checksums, unpacking."""

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

from advance_tf.data.archives import unpack

BASE_URL = "https://zenodo.org/records/3828124/files"
_BLOCK_BYTES = 1 << 20
_TIMEOUT_SECONDS = 60
_MAX_WAIT_SECONDS = 60.0
# HTTP status codes of a temporary failure.
_RETRIED_STATUS = (408, 425, 429, 500, 502, 503, 504)


@dataclasses.dataclass(frozen=True)
class Archive:
    """A published archive.

    Attributes:
        name: file name.
        md5: published checksum, 32 hexadecimal digits.
        folder: name of the folder it is unpacked to, "vision" or "sound".
    """

    name: str
    md5: str
    folder: str


ARCHIVES = (
    Archive("ADVANCE_vision.zip", "a9e8748219ef5864d3b5a8979a67b471", "vision"),
    Archive("ADVANCE_sound.zip", "a2d12f2d2a64f5c3d3a9d8c09aaf1c31", "sound"),
)


class _TransferError(Exception):
    """The connection ended too early, or the server was busy; a retry may succeed."""


def download_advance(
    data_dir: str | pathlib.Path,
    base_url: str = BASE_URL,
    archives: tuple[Archive, ...] = ARCHIVES,
    *,
    keep_archives: bool = False,
    retries: int = 5,
    wait_seconds: float = 1.0,
    progress: bool = True,
) -> list[str]:
    """Downloads, verifies and unpacks the archives of ADVANCE.

    A folder that exists is skipped. After an error or an interruption the next call
    resumes the download, unless the checksum was wrong.

    Args:
        data_dir: folder that receives vision/ and sound/; created if it does not
            exist.
        base_url: address of the folder of the archives, http or https.
        archives: the archives to download.
        keep_archives: keep the zip files after unpacking.
        retries: consecutive attempts without progress before an error is raised.
        wait_seconds: pause in seconds before the first retry, doubled for each
            further one up to 60 s.
        progress: show progress bars.

    Returns:
        The folders that were created, in the order of `archives`.

    Raises:
        ValueError: a checksum differs, the disk has too little space, the server
            refuses the request or cannot be reached, or an archive is damaged.
    """
    root = pathlib.Path(data_dir)
    if not base_url.startswith(("http://", "https://")):
        raise ValueError(
            f"base_url must begin with http:// or https://; received {base_url!r}. "
            f"The published archives are at {BASE_URL}."
        )
    root.mkdir(parents=True, exist_ok=True)
    created = []
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
        unpack(path, target, progress=progress)
        if not keep_archives:
            path.unlink()
        created.append(archive.folder)
    return created


def fetch(
    archive: Archive,
    url: str,
    folder: pathlib.Path,
    *,
    retries: int = 5,
    wait_seconds: float = 1.0,
    progress: bool = True,
) -> pathlib.Path:
    """Downloads one archive to <folder>/<name> and verifies its MD5 checksum.

    Data are written to <name>.part, which a later call resumes with an HTTP Range
    request; the file is renamed once it is verified.

    Args:
        archive: name and checksum.
        url: address of the file.
        folder: existing folder to write to.
        retries: consecutive attempts without progress before an error is raised.
        wait_seconds: pause in seconds before the first retry, doubled for each
            further one up to 60 s.
        progress: show a progress bar.

    Returns:
        The path of the verified file.

    Raises:
        ValueError: as in `download_advance`.
    """
    path = folder / archive.name
    if path.exists():
        _verify(archive, path, _hash_file(path, progress).hexdigest())
        return path
    part = folder / f"{archive.name}.part"
    part.touch()
    transfer = _Download(url, part, progress)
    failures, max_bytes = 0, part.stat().st_size
    while True:
        try:
            transfer.attempt()
            break
        except (_TransferError, OSError, http.client.HTTPException) as error:
            if isinstance(error, OSError) and error.errno == errno.ENOSPC:
                raise  # Waiting does not free disk space.
            # A server without Range support sends the file from its start again:
            # only bytes beyond the previous maximum count as progress.
            failures = 0 if part.stat().st_size > max_bytes else failures + 1
            max_bytes = max(max_bytes, part.stat().st_size)
            if failures > retries:
                raise ValueError(
                    f"{url} must be reachable; {failures} attempts in a row made no "
                    f"progress, the last one ended with: {error}. Run `advance "
                    f"download` again later: it resumes after "
                    f"{part.stat().st_size:,} bytes."
                ) from error
            time.sleep(min(wait_seconds * 2**failures, _MAX_WAIT_SECONDS))
        finally:
            transfer.close_bar()
    _verify(archive, part, transfer.digest.hexdigest())
    part.replace(path)
    return path


class _Download:
    """A partial file with the MD5 digest of its bytes and a progress bar."""

    def __init__(self, url: str, part: pathlib.Path, progress: bool) -> None:
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
        """Requests the missing bytes; returns when the file is complete."""
        done = self.part.stat().st_size
        headers = {"User-Agent": "advance_tf", "Accept-Encoding": "identity"}
        if done:
            headers["Range"] = f"bytes={done}-"
        request = urllib.request.Request(self.url, headers=headers)
        try:
            response = urllib.request.urlopen(request, timeout=_TIMEOUT_SECONDS)
        except urllib.error.HTTPError as error:
            self._handle_status(error, done)
            return
        with response:
            begin, total = _byte_range(response)
            if begin != done:
                self._restart(begin)
            self._check_disk(total)
            self._receive(response, begin, total)

    def _handle_status(self, error: urllib.error.HTTPError, done: int) -> None:
        """Returns if the file was complete; otherwise raises the matching error."""
        with error:
            total = _total_bytes(error.headers.get("Content-Range", ""))
            if error.code == 416 and total == done:
                return
            if error.code == 416:
                self._restart(0)
                raise _TransferError(
                    "the partial file was longer than the file"
                ) from error
            if error.code in _RETRIED_STATUS:
                raise _TransferError(f"HTTP {error.code} {error.reason}") from error
            raise ValueError(
                f"{self.url} must exist; the server answered HTTP {error.code} "
                f"{error.reason}. Check `base_url`."
            ) from error

    def _restart(self, begin: int) -> None:
        """Discards the partial file if the server sends the file from its start."""
        if begin != 0:
            raise ValueError(
                f"{self.url} must be sent from byte {self.part.stat().st_size}; the "
                f"server sent it from byte {begin}. Remove {self.part} and run "
                "`advance download` again."
            )
        self.part.write_bytes(b"")
        self.digest = hashlib.md5(usedforsecurity=False)

    def _check_disk(self, total: int | None) -> None:
        missing = (total or 0) - self.part.stat().st_size
        free = shutil.disk_usage(self.part.parent).free
        if missing > free:
            raise ValueError(
                f"{self.part.parent} must have {missing:,} bytes free for the rest of "
                f"{self.part.stem}; it has {free:,}. Free disk space or choose another "
                "`data_dir`."
            )

    def _receive(
        self, response: http.client.HTTPResponse, begin: int, total: int | None
    ) -> None:
        self.bar = tqdm(
            desc=self.part.stem,
            total=total,
            initial=begin,
            unit="B",
            unit_scale=True,
            disable=None if self.progress else True,
        )
        received = begin
        with self.part.open("ab") as file:
            while block := response.read1(_BLOCK_BYTES):
                file.write(block)
                self.digest.update(block)
                self.bar.update(len(block))
                received += len(block)
        # A dropped connection may end like a complete transfer: compare the lengths.
        if total is not None and received < total:
            raise _TransferError(f"only {received:,} of {total:,} bytes were received")


def _byte_range(response: http.client.HTTPResponse) -> tuple[int, int | None]:
    """First byte of a response and the length of the file, None if not stated."""
    if response.status == 206:
        value = response.headers.get("Content-Range", "")
        match = re.match(r"bytes (\d+)-", value)
        if match:
            return int(match.group(1)), _total_bytes(value)
        raise ValueError(
            f"{response.url} must be sent with the range of its bytes; received the "
            f"Content-Range {value!r}. Remove the .part file and run `advance "
            "download` again."
        )
    length = response.headers.get("Content-Length")
    return 0, int(length) if length else None


def _total_bytes(content_range: str) -> int | None:
    match = re.search(r"/(\d+)$", content_range)
    return int(match.group(1)) if match else None


def _hash_file(path: pathlib.Path, progress: bool) -> "hashlib._Hash":
    """The MD5 digest of a file's contents."""
    digest = hashlib.md5(usedforsecurity=False)
    size = path.stat().st_size
    bar = tqdm(
        desc=f"checking {path.name}",
        total=size,
        unit="B",
        unit_scale=True,
        disable=None if progress and size else True,
    )
    with bar, path.open("rb") as file:
        while block := file.read(_BLOCK_BYTES):
            digest.update(block)
            bar.update(len(block))
    return digest


def _verify(archive: Archive, path: pathlib.Path, received: str) -> None:
    """Raises ValueError, and removes a partial file, if the MD5 differs."""
    if received == archive.md5:
        return
    size = path.stat().st_size
    if path.suffix == ".part":
        path.unlink()
        remedy = "It was removed: run `advance download` again."
    else:
        remedy = "Remove it and run `advance download` again."
    raise ValueError(
        f"{path} must have the MD5 checksum {archive.md5}; its {size:,} bytes have "
        f"{received}. {remedy}"
    )
