"""A trained run with what its teacher knows."""

import dataclasses
import pathlib

from advance_tf.serving.event_probs import find_knowledge
from advance_tf.teacher.knowledge import EventKnowledge, load_knowledge
from advance_tf.training.workdir import Run, load_run


@dataclasses.dataclass(frozen=True, eq=False)
class TaughtRun:
    """A run and the event knowledge that goes with it.

    Attributes:
        run: loaded, with its best weights.
        knowledge: of its teacher on its manifest, None where there is none.
        data_dir: folder of its data set.
    """

    run: Run
    knowledge: EventKnowledge | None
    data_dir: pathlib.Path


def load_taught_run(
    workdir: str | pathlib.Path, data_dir: str | None = None
) -> TaughtRun:
    """Loads a run and, where there is any, its event knowledge.

    Args:
        workdir: folder of the run.
        data_dir: folder of the data set; by default as it was trained.

    Returns:
        The run with its knowledge.

    Raises:
        ValueError: a file of the run is missing, broken or of another run.
    """
    run = load_run(workdir)
    folder = find_knowledge(run.workdir, run.knowledge_dir)
    return TaughtRun(
        run,
        load_knowledge(folder, run.manifest) if folder else None,
        pathlib.Path(data_dir or run.config.data.data_dir),
    )
