"""The tutorial notebook runs from its first cell to its last."""

import pathlib
import re

import nbformat
import pytest
from nbclient import NotebookClient

ROOT = pathlib.Path(__file__).parents[2]
NOTEBOOK = ROOT / "docs" / "tutorial.ipynb"
_SECONDS_PER_CELL = 300


@pytest.fixture(scope="module")
def stored() -> nbformat.NotebookNode:
    """The notebook as it is in the repository."""
    return nbformat.read(NOTEBOOK, as_version=4)


def test_the_notebook_is_stored_without_outputs(
    stored: nbformat.NotebookNode,
) -> None:
    cells = [cell for cell in stored.cells if cell.cell_type == "code"]
    assert cells
    for cell in cells:
        assert not cell.outputs, cell.source
        assert cell.execution_count is None, cell.source


def test_the_notebook_runs(
    stored: nbformat.NotebookNode,
    tmp_path: pathlib.Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    client = NotebookClient(
        nbformat.from_dict(stored),
        timeout=_SECONDS_PER_CELL,
        kernel_name="python3",
        resources={"metadata": {"path": str(tmp_path)}},
    )
    executed = client.execute()
    texts = [
        output.get("text", "") + str(output.get("data", {}).get("text/plain", ""))
        for cell in executed.cells
        if cell.cell_type == "code"
        for output in cell.outputs
    ]
    printed = "\n".join(texts)
    assert "104 pairs of 52 sites" in printed
    assert "synthetic data" in printed
    score = re.search(r"weighted F: (\d\.\d\d)\n", printed)
    assert score is not None, printed
    assert 0 < float(score[1]) <= 1
    # The activation maps are the last output.
    assert "image/png" in executed.cells[-2].outputs[-1]["data"]
