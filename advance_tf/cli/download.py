"""Downloads ADVANCE (CC BY 4.0) from Zenodo, record 3828124.

    advance download --data_dir=ADVANCE

Checks the free disk space and the published MD5 sums, resumes an interrupted
download, unpacks to vision/ and sound/ and counts the pairs. An existing folder is
not changed.
"""

from absl import flags
from absl.flags import FlagValues

from advance_tf import labels
from advance_tf.cli.flags import require
from advance_tf.data import download, layout


def define(values: FlagValues) -> None:
    """Defines the flags of the command."""
    flags.DEFINE_string("data_dir", None, "Folder to download to.", flag_values=values)
    flags.DEFINE_string(
        "base_url",
        download.BASE_URL,
        "Address of ADVANCE_vision.zip and ADVANCE_sound.zip.",
        flag_values=values,
    )
    flags.DEFINE_bool(
        "keep_archives",
        False,
        "Keep the zip files after they are unpacked.",
        flag_values=values,
    )


def run(values: FlagValues) -> None:
    """Downloads the folders that --data_dir does not have."""
    require(values, data_dir="a folder")
    written = download.download_advance(
        values.data_dir, values.base_url, keep_archives=values.keep_archives
    )
    print(f"New: {', '.join(written) or 'nothing, all folders exist'}.")
    found = layout.scan(values.data_dir)
    sites = {pair.site for pair in found.pairs}
    scenes = {pair.scene for pair in found.pairs}
    print(
        f"{values.data_dir}: {len(found.pairs):,} pairs of {len(sites):,} sites in "
        f"{len(scenes)} of {len(labels.scenes())} scenes."
    )
