"""One run of a study: which flags train it, and how far it has come."""

import dataclasses
import pathlib

from advance_tf.config import Config
from advance_tf.data.manifest import Manifest
from advance_tf.training.session import is_over, progress_of
from advance_tf.training.workdir import CONFIG, check_resume, read_config


@dataclasses.dataclass(frozen=True)
class Job:
    """One run of `python -m advance_tf.fit`.

    Attributes:
        name: what it is called.
        workdir: its folder.
        arguments: its flags, all but --workdir.
        config: what these flags say.
    """

    name: str
    workdir: pathlib.Path
    arguments: tuple[str, ...]
    config: Config

    @property
    def epochs(self) -> int:
        """Epochs that need not be trained any more."""
        progress, training = progress_of(self.workdir), self.config.training
        return training.epochs if is_over(progress, training) else progress.epochs

    def is_finished(self) -> bool:
        """Whether nothing is left to train."""
        return is_over(progress_of(self.workdir), self.config.training)

    def command(self) -> list[str]:
        """Module and flags for Python's `-m`, to train it or to go on."""
        return ["advance_tf.fit", f"--workdir={self.workdir}", *self.arguments]

    def check(self, manifest: Manifest) -> None:
        """Refuses to count a run of other settings as this one.

        Args:
            manifest: of the study.

        Raises:
            ValueError: the folder holds a run of other settings, of another split,
                or of more epochs.
        """
        if not (self.workdir / CONFIG).exists():
            return
        stored, contents = read_config(self.workdir)
        try:
            check_resume(stored, self.config)
        except ValueError as error:
            raise ValueError(
                f"{self.workdir} holds a run of this study under other settings. "
                f"{error}"
            ) from error
        if contents["manifest_sha256"] != manifest.sha256:
            raise ValueError(
                f"All runs of a study have one split; {self.workdir} was trained on "
                "another one. Use another --workdir."
            )
        done, wanted = progress_of(self.workdir).epochs, self.config.training.epochs
        if done > wanted:
            raise ValueError(
                f"All runs of a study have the same epochs; {self.workdir} has had "
                f"{done}, more than --epochs={wanted}. Give at least as many, or "
                "another --workdir."
            )
