"""Downloads ADVANCE from Zenodo: resumed transfers, checksums, unpacking."""

import dataclasses
import pathlib

from advance_tf.data.archives import unpack
from advance_tf.data.pairing import modality_folders
from advance_tf.data.transfers import LOCK, PublishedFile, check_url, fetch
from advance_tf.locks import lock_folder

BASE_URL = "https://zenodo.org/records/3828124/files"


@dataclasses.dataclass(frozen=True)
class Archive(PublishedFile):
    """A published archive.

    Attributes:
        folder: name of the folder it is unpacked to, "vision" or "sound".
    """

    folder: str = ""


ARCHIVES = (
    Archive("ADVANCE_vision.zip", "md5:a9e8748219ef5864d3b5a8979a67b471", "vision"),
    Archive("ADVANCE_sound.zip", "md5:a2d12f2d2a64f5c3d3a9d8c09aaf1c31", "sound"),
)


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

    A folder that exists, also under a name of `layout.modality_folder`, is skipped.
    After an error or an interruption the next call resumes the download, unless the
    checksum was wrong.

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
            refuses the request or cannot be reached, an archive is damaged, or
            another process downloads to the folder.
    """
    root = pathlib.Path(data_dir)
    check_url(base_url, BASE_URL)

    def missing() -> list[Archive]:
        return [one for one in archives if not modality_folders(root, one.folder)]

    if not missing():
        return []
    created = []
    with lock_folder(root, LOCK):
        # Another process may have ended before the lock.
        for archive in missing():
            path = fetch(
                archive,
                f"{base_url.rstrip('/')}/{archive.name}",
                root,
                retries=retries,
                wait_seconds=wait_seconds,
                progress=progress,
            )
            unpack(path, root / archive.folder, progress=progress)
            if not keep_archives:
                path.unlink()
            created.append(archive.folder)
    return created
