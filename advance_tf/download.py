"""Downloads ADVANCE (CC BY 4.0) from Zenodo, record 3828124.

    python -m advance_tf.download --data_dir=ADVANCE

Checks the free disk space and the published md5 sums, goes on where an earlier
run stopped, unpacks to vision/ and sound/ and counts the pairs. A folder that
is already there is left as it is.
"""

from absl import flags

from advance_tf import labels, program
from advance_tf.data import download, layout

_DATA_DIR = flags.DEFINE_string("data_dir", None, "Folder to download to.")
_BASE_URL = flags.DEFINE_string(
    "base_url", download.BASE_URL, "Where ADVANCE_vision.zip and _sound.zip lie."
)
_KEEP_ARCHIVES = flags.DEFINE_bool(
    "keep_archives", False, "Keep the zip files after they are unpacked."
)


def main(arguments) -> None:
    """Downloads to --data_dir what is not there yet."""
    del arguments
    if not _DATA_DIR.value:
        raise ValueError("--data_dir must name a folder; received none.")
    made = download.download(
        _DATA_DIR.value, _BASE_URL.value, keep_archives=_KEEP_ARCHIVES.value
    )
    print(f"New: {', '.join(made) or 'nothing, all of it was there'}.")
    found = layout.scan(_DATA_DIR.value)
    sites = {pair.site for pair in found.pairs}
    scenes = {pair.scene for pair in found.pairs}
    print(
        f"{_DATA_DIR.value}: {len(found.pairs):,} pairs of {len(sites):,} sites in "
        f"{len(scenes)} of {len(labels.scenes())} scenes."
    )


def console() -> None:
    """Entry point of the installed command."""
    program.run(main)


if __name__ == "__main__":
    console()
