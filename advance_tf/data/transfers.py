"""Transfers of published files over HTTP: resumed, verified, with a progress bar."""

import dataclasses
import hashlib
import http.client
import json
import pathlib
import re
import shutil
import time
import urllib.error
import urllib.request

from tqdm import tqdm

from advance_tf.files import DISK_ERRORS

_BLOCK_BYTES = 1 << 20
_TIMEOUT_SECONDS = 60
_MAX_WAIT_SECONDS = 60.0
# HTTP status codes of a temporary failure.
_RETRIED_STATUS = (408, 425, 429, 500, 502, 503, 504)
_HEADERS = {"User-Agent": "advance_tf", "Accept-Encoding": "identity"}
# What the lock of a folder that receives files is named after.
LOCK = "download"
_ALGORITHMS = {"md5": "MD5", "sha256": "SHA-256"}


@dataclasses.dataclass(frozen=True)
class PublishedFile:
    """A published file.

    Attributes:
        name: file name.
        checksum: "md5:" or "sha256:" and the hexadecimal digits; "" where none is
            published.
    """

    name: str
    checksum: str = ""


class _TransferError(Exception):
    """The connection ended too early, or the server was busy; a retry may succeed."""


def check_url(base_url: str, published: str) -> None:
    """Checks the protocol of an address.

    Args:
        base_url: the address.
        published: the published one, for the error.

    Raises:
        ValueError: the address does not begin with http:// or https://.
    """
    if not base_url.startswith(("http://", "https://")):
        raise ValueError(
            f"base_url must begin with http:// or https://; received {base_url!r}. "
            f"The published files are at {published}."
        )


def fetch(
    file: PublishedFile,
    url: str,
    folder: pathlib.Path,
    *,
    retries: int = 5,
    wait_seconds: float = 1.0,
    progress: bool = True,
) -> pathlib.Path:
    """Downloads one file to <folder>/<name> and verifies its checksum, if there is one.

    Data are written to <name>.part, which a later call resumes with an HTTP Range
    request; the file is renamed once it is verified.

    Args:
        file: name and checksum.
        url: address of the file.
        folder: existing folder to write to.
        retries: consecutive attempts without progress before an error is raised.
        wait_seconds: pause in seconds before the first retry, doubled for each
            further one up to 60 s.
        progress: show a progress bar.

    Returns:
        The path of the verified file.

    Raises:
        ValueError: the checksum differs, the disk has too little space, or the server
            refuses the request or cannot be reached.
    """
    path = folder / file.name
    algorithm, _, checksum = (file.checksum or "sha256:").partition(":")
    if path.exists():
        digest = _hash_file(path, algorithm, progress)
        _verify(algorithm, checksum, path, digest.hexdigest())
        return path
    part = folder / f"{file.name}.part"
    part.touch()
    transfer = _Download(url, part, algorithm, progress)
    failures, max_bytes = 0, part.stat().st_size
    while True:
        try:
            transfer.attempt()
            break
        except (_TransferError, OSError, http.client.HTTPException) as error:
            if isinstance(error, OSError) and error.errno in DISK_ERRORS:
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
    _verify(algorithm, checksum, part, transfer.digest.hexdigest())
    part.replace(path)
    return path


class _Download:
    """A partial file with the digest of its bytes and a progress bar."""

    def __init__(
        self, url: str, part: pathlib.Path, algorithm: str, progress: bool
    ) -> None:
        self.url = url
        self.part = part
        self.algorithm = algorithm
        self.progress = progress
        self.digest = _hash_file(part, algorithm, progress)
        self.bar: tqdm | None = None

    def close_bar(self) -> None:
        if self.bar is not None:
            self.bar.close()
            self.bar = None

    def attempt(self) -> None:
        """Requests the missing bytes; returns when the file is complete."""
        done = self.part.stat().st_size
        headers = dict(_HEADERS)
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
        self.digest = hashlib.new(self.algorithm, usedforsecurity=False)

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


def _hash_file(path: pathlib.Path, algorithm: str, progress: bool) -> "hashlib._Hash":
    """The digest of a file's contents."""
    digest = hashlib.new(algorithm, usedforsecurity=False)
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


def _verify(algorithm: str, expected: str, path: pathlib.Path, received: str) -> None:
    """Raises ValueError, and removes a partial file, if the checksum differs."""
    if received == expected or not expected:
        return
    size = path.stat().st_size
    if path.suffix == ".part":
        path.unlink()
        remedy = "It was removed: run `advance download` again."
    else:
        remedy = "Remove it and run `advance download` again."
    raise ValueError(
        f"{path} must have the {_ALGORITHMS[algorithm]} checksum {expected}; its "
        f"{size:,} bytes have {received}. {remedy}"
    )


def zenodo_files(url: str) -> dict[PublishedFile, str]:
    """The files of a record of Zenodo, with their published checksums.

    Args:
        url: address of the record in Zenodo's interface for programs, such as
            https://zenodo.org/api/records/4082894.

    Returns:
        File → address.

    Raises:
        ValueError: the server cannot be reached, or the answer is not a record.
    """
    request = urllib.request.Request(url, headers=_HEADERS)
    try:
        with urllib.request.urlopen(request, timeout=_TIMEOUT_SECONDS) as response:
            record = json.load(response)
        return {
            PublishedFile(_file_name(entry["key"]), _checksum(entry["checksum"])): str(
                entry["links"]["self"]
            )
            for entry in record["files"]
        }
    except (OSError, http.client.HTTPException) as error:
        raise ValueError(
            f"{url} must be reachable; received: {error}. Run `advance download` again "
            "later."
        ) from error
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(
            f"{url} must describe a record of Zenodo with its files; reading the "
            f"answer failed: {error!r}. Check `base_url`."
        ) from error


def _file_name(name: str) -> str:
    """The name of a published file; raises ValueError if it is a path."""
    if name in ("", ".", "..") or pathlib.PurePosixPath(name).name != name:
        raise ValueError(f"{name!r} is not a file name")
    return name


def _checksum(text: str) -> str:
    """A checksum as published; raises ValueError if its algorithm is unknown."""
    if text.partition(":")[0] not in _ALGORITHMS:
        raise ValueError(f"{text!r} is not an MD5 or a SHA-256 checksum")
    return text
