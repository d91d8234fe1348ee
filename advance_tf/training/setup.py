"""Settles what a run is made from, before anything is trained."""

import dataclasses
import pathlib
from collections.abc import Callable

from advance_tf.config import Config
from advance_tf.data.manifest import Manifest, make_manifest
from advance_tf.data.notice import read_notice
from advance_tf.training import workdir as workdir_module


@dataclasses.dataclass(frozen=True)
class Prepared:
    """A run that is ready to begin or to go on.

    Attributes:
        workdir: its folder.
        config: its settings.
        manifest: its pairs and splits.
        knowledge_dir: folder of the event knowledge, "" when none is needed.
    """

    workdir: pathlib.Path
    config: Config
    manifest: Manifest
    knowledge_dir: str

    def write(self) -> None:
        """Writes manifest.csv and config.json, once all of it is known good."""
        manifest_path = self.workdir / workdir_module.MANIFEST
        if not manifest_path.exists():
            self.manifest.save(manifest_path)
        workdir_module.write_config(
            self.workdir,
            self.config,
            self.manifest,
            label=read_notice(self.config.data.data_dir),
            knowledge_dir=self.knowledge_dir,
        )


def prepare(
    workdir: pathlib.Path,
    read_flags: Callable[[Config], Config],
    manifest_path: str | None = None,
    knowledge_dir: str | None = None,
) -> Prepared:
    """Joins flags, an earlier part of the run, the manifest and the knowledge.

    Args:
        workdir: folder of the run.
        read_flags: lays the user's settings over a configuration.
        manifest_path: a split to use instead of making one.
        knowledge_dir: event knowledge to use; default <workdir>/event_knowledge.

    Returns:
        What to train; nothing is written yet.

    Raises:
        ValueError: the settings contradict an earlier part of the run, or the
            data or the manifest are not sound.
    """
    stored_path = workdir / workdir_module.CONFIG
    contents: dict = {}
    if stored_path.exists():
        stored, contents = workdir_module.read_config(workdir)
        config = read_flags(stored)
        workdir_module.check_resume(stored, config)
    else:
        config = read_flags(Config())
    if not config.data.data_dir:
        raise ValueError(
            "--data_dir must name a folder in ADVANCE's layout; received none."
        )
    manifest = find_manifest(workdir, config, manifest_path)
    if contents and contents["manifest_sha256"] != manifest.sha256:
        raise ValueError(
            f"A run resumes on the split that it began with; the manifest given "
            f"differs from that of {workdir}. Leave --manifest out or use another "
            "--workdir."
        )
    knowledge = knowledge_dir or contents.get("knowledge_dir", "")
    if config.transfer.transfer == "none":
        knowledge = ""
    elif not knowledge:
        knowledge = str(workdir / workdir_module.KNOWLEDGE)
    return Prepared(workdir, config, manifest, knowledge)


def find_manifest(
    workdir: pathlib.Path, config: Config, manifest_path: str | None = None
) -> Manifest:
    """The manifest of a path, else of the work directory, else a new one.

    Args:
        workdir: folder of the run.
        config: `data` is read for a new manifest.
        manifest_path: a manifest to use, or None.

    Returns:
        A manifest that passed the leak audit.

    Raises:
        ValueError: the work directory has another manifest than the one given.
    """
    own_path = workdir / workdir_module.MANIFEST
    own = Manifest.load(own_path) if own_path.exists() else None
    if manifest_path is None:
        return own or make_manifest(config.data)
    manifest = Manifest.load(pathlib.Path(manifest_path))
    if own is not None and own.sha256 != manifest.sha256:
        raise ValueError(
            f"--manifest={manifest_path} must equal the manifest that lies in "
            f"{workdir}; it differs. Leave it out or use another --workdir."
        )
    return manifest
