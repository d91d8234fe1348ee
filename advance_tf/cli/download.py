"""Downloads ADVANCE, YAMNet or checkpoints, and checks them by use.

    advance download advance --data_dir=ADVANCE       # Zenodo record 3828124, CC BY 4.0
    advance download yamnet --folder=weights          # yamnet.h5, Apache-2.0
    advance download checkpoints --folder=weights     # Zenodo record 4082894

Checks the free disk space and the checksums, and resumes an interrupted download.
ADVANCE is unpacked to vision/ and sound/, and its pairs are counted; an existing folder
is not changed. The SHA-256 of YAMNet and of the checkpoints is printed; YAMNet is
applied to a tone, to silence and to noise; checkpoints are converted to tower weights
and applied.
"""

from absl import flags
from absl.flags import FlagValues

from advance_tf import labels
from advance_tf.cli import startup
from advance_tf.cli.flags import refuse, require
from advance_tf.data import download, layout

# The flag that an argument without a name is the value of.
POSITIONAL = "what"


def define(values: FlagValues) -> None:
    """Defines the flags of the command."""
    flags.DEFINE_enum(
        "what",
        "advance",
        ("advance", "yamnet", "checkpoints"),
        "What to download.",
        flag_values=values,
    )
    flags.DEFINE_string(
        "data_dir", None, "Folder to download ADVANCE to.", flag_values=values
    )
    flags.DEFINE_string(
        "folder", None, "Folder of the weights to download.", flag_values=values
    )
    flags.DEFINE_string(
        "base_url",
        None,
        "Address of the files, of a copy of them, or of the record of the "
        "checkpoints; default: the published one.",
        flag_values=values,
    )
    flags.DEFINE_bool(
        "keep_archives",
        False,
        "Keep the zip files of ADVANCE after they are unpacked.",
        flag_values=values,
    )


def run(values: FlagValues) -> None:
    """Downloads what is missing."""
    others = ("folder",) if values.what == "advance" else ("data_dir", "keep_archives")
    refuse(values, others, f"has no effect on `advance download {values.what}`")
    if values.what == "advance":
        _download_advance(values)
        return
    require(values, folder="a folder")
    startup.load_tensorflow()

    from advance_tf.teacher import pretrained

    address = {"base_url": values.base_url} if values.base_url else {}
    if values.what == "yamnet":
        found = [pretrained.download_yamnet(values.folder, **address)]
        path = found[0].path
        command = (
            f"advance teach --teacher={path}, or advance fit --audio_backbone=yamnet "
            f"--audio_weights={path}"
        )
    else:
        found = pretrained.download_checkpoints(values.folder, **address)
        command = "advance fit --image_weights=….npz --audio_weights=….npz"
    for file in found:
        print(file.summary())
    print(f"Next: {command}")


def _download_advance(values: FlagValues) -> None:
    """Downloads the folders that --data_dir does not have."""
    require(values, data_dir="a folder")
    written = download.download_advance(
        values.data_dir,
        values.base_url or download.BASE_URL,
        keep_archives=values.keep_archives,
    )
    print(f"New: {', '.join(written) or 'nothing, all folders exist'}.")
    found = layout.scan(values.data_dir)
    sites = {pair.site for pair in found.pairs}
    scenes = {pair.scene for pair in found.pairs}
    print(
        f"{values.data_dir}: {len(found.pairs):,} pairs of {len(sites):,} sites in "
        f"{len(scenes)} of {len(labels.scenes())} scenes."
    )
