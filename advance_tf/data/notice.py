"""What a data set says of itself, shown wherever its figures are shown."""

import pathlib

NOTICE = "NOTICE.txt"


def read_notice(data_dir: str | pathlib.Path) -> str:
    """The first line of the data set's NOTICE.txt, "" without one.

    Args:
        data_dir: folder of the data set.

    Returns:
        For example "synthetic data: …", to label every report with.
    """
    path = pathlib.Path(data_dir) / NOTICE
    if not path.exists():
        return ""
    lines = path.read_text(encoding="utf-8").splitlines()
    return lines[0].strip() if lines else ""
