"""What the paper reports, row by row, and the recipe that trains each row."""

import csv
import dataclasses
import functools
import pathlib
from collections.abc import Mapping

from advance_tf.labels import asset_path
from advance_tf.metrics.comparison import SCORES

TABLES = (1, 2, 3)


@dataclasses.dataclass(frozen=True)
class PaperRow:
    """One row of a table.

    Attributes:
        name: inputs and objective.
        recipe: name of its flag file; two rows of one recipe share their runs.
        reference: recipe of L_s on the same inputs.
        scores: precision, recall, f_score → mean and deviation in [0, 1].
    """

    name: str
    recipe: str
    reference: str
    scores: Mapping[str, tuple[float, float]]


@functools.cache
def _rows() -> dict[int, tuple[PaperRow, ...]]:
    found: dict[int, list[PaperRow]] = {table: [] for table in TABLES}
    path = asset_path("paper_tables.csv")
    with path.open(newline="", encoding="utf-8") as file:
        for row in csv.DictReader(file):
            scores = {
                score: (float(row[score]) / 100, float(row[f"{score}_deviation"]) / 100)
                for score in SCORES
            }
            found[int(row["table"])].append(
                PaperRow(row["row"], row["recipe"], row["reference"], scores)
            )
    return {table: tuple(rows) for table, rows in found.items()}


def paper_rows(table: int) -> tuple[PaperRow, ...]:
    """The rows of a table, with L_s before them where the table leaves it out.

    Args:
        table: 1, 2 or 3.

    Returns:
        The rows in the paper's order; every row's reference is among them.

    Source: Tables 1 to 3 of the paper.
    """
    rows = _rows()[table]
    present = {row.recipe for row in rows}
    wanted = dict.fromkeys(row.reference for row in rows)
    everywhere = {row.recipe: row for some in _rows().values() for row in some}
    return tuple(everywhere[name] for name in wanted if name not in present) + rows


def recipe_path(recipe: str) -> pathlib.Path:
    """The flag file of a recipe."""
    return asset_path(f"recipes/{recipe}.flags")
