"""Decisions of a person about proposed labels."""

import dataclasses
import pathlib

from advance_tf import labels
from advance_tf.csv_tables import read_table

DECISIONS = ("accept", "correct", "reject")


@dataclasses.dataclass(frozen=True)
class Correction:
    """The decision of a reviewer about a pair.

    Attributes:
        decision: "accept", "correct" or "reject".
        scene: the right scene of "correct".
        remark: free text.
    """

    decision: str
    scene: str = ""
    remark: str = ""


def read_corrections(path: str | pathlib.Path) -> dict[tuple[str, str], Correction]:
    """Reads the file of corrections that the review page writes.

    Args:
        path: CSV file with the columns recording and decision, and optionally shift,
            scene and remark.

    Returns:
        Recording and shift → decision.

    Raises:
        ValueError: a column is missing, or a decision or scene is not valid.
    """
    columns, rows = read_table(path)
    if not {"recording", "decision"} <= set(columns):
        raise ValueError(
            f"{path} must have the columns recording and decision; received "
            f"{', '.join(columns) or 'an empty file'}. Save it with the review page."
        )
    found = {}
    for line, row in rows:
        decision, scene = row["decision"], row.get("scene", "")
        right = decision != "correct" or scene in labels.scenes()
        if decision not in DECISIONS or not right:
            raise ValueError(
                f"{path}, line {line}: a decision must be one of "
                f"{', '.join(DECISIONS)}, and `correct` has one of the 13 scenes; "
                f"received {decision!r} and {scene!r}."
            )
        key = (row["recording"], row.get("shift", ""))
        found[key] = Correction(decision, scene, row.get("remark", ""))
    return found
