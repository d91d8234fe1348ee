"""The tables of a run's page, as values for its template."""

import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np

from advance_tf import config as config_module
from advance_tf.config import Config
from advance_tf.metrics.evaluation import Evaluation


@dataclasses.dataclass(frozen=True)
class Setting:
    """One field of the configuration.

    Attributes:
        name: of the field and its flag.
        value: as text.
        default: as text.
        changed: whether the value is another than the default.
        help: what it is.
    """

    name: str
    value: str
    default: str
    changed: bool
    help: str


@dataclasses.dataclass(frozen=True)
class Cell:
    """One cell of a confusion matrix.

    Attributes:
        count: of pairs.
        share: of the true scene's pairs, in [0, 1].
        right: whether it is on the diagonal.
    """

    count: int
    share: float
    right: bool


def settings(config: Config) -> dict[str, tuple[Setting, ...]]:
    """Every setting of a run by group.

    Args:
        config: of the run.

    Returns:
        Group → its fields in their order.
    """
    standard = Config()
    found = {}
    for name in config_module.groups():
        group, default = getattr(config, name), getattr(standard, name)
        found[name] = tuple(
            Setting(
                field.name,
                _text(getattr(group, field.name)),
                _text(getattr(default, field.name)),
                getattr(group, field.name) != getattr(default, field.name),
                field.metadata["help"],
            )
            for field in dataclasses.fields(group)
        )
    return found


def _text(value) -> str:
    if isinstance(value, tuple):
        return ", ".join(map(str, value)) or "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return "none" if value == "" else str(value)


def confusion_rows(
    evaluation: Evaluation,
) -> list[tuple[str, int, tuple[Cell, ...]]]:
    """The confusion matrix with the share of each row.

    Args:
        evaluation: of a split.

    Returns:
        For each true scene its name, its pairs and its cells.
    """
    confusion = np.asarray(evaluation.confusion)
    support = confusion.sum(axis=1)
    return [
        (
            scene,
            int(support[row]),
            tuple(
                Cell(int(count), float(count / max(support[row], 1)), row == column)
                for column, count in enumerate(confusion[row])
            ),
        )
        for row, scene in enumerate(evaluation.scenes)
    ]


def version_rows(
    trained: Mapping[str, str], now: Mapping[str, str]
) -> list[tuple[str, str, str]]:
    """Package, its version in training, its version when the page was made.

    Args:
        trained: package → version, of config.json.
        now: the same of this machine.

    Returns:
        One row for each package, sorted; "–" where one is not known.
    """
    names: Sequence[str] = sorted({*trained, *now})
    return [(name, trained.get(name, "–"), now.get(name, "–")) for name in names]
