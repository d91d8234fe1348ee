"""Text of users in Markdown and CSV is shown, never interpreted."""

import csv
import io

import numpy as np

from advance_tf.metrics import tables
from advance_tf.metrics.evaluation import evaluate_predictions

HOSTILE = "=1+1 <script>alert(1)</script> | *a*"


def hostile_evaluation():
    return evaluate_predictions(
        ["00001", "00002"], ["00001", "00002"], [0, 1], np.eye(13)[:2], label=HOSTILE
    )


def test_a_label_is_escaped_in_the_report():
    text = tables.report(hostile_evaluation())
    assert "<script>" not in text
    assert r"&lt;script&gt;alert(1)&lt;/script&gt; \| \*a\*" in text


def test_no_cell_is_a_formula():
    evaluation = hostile_evaluation()
    for text in (tables.scenes_csv(evaluation), tables.predictions_csv(evaluation)):
        rows = list(csv.DictReader(io.StringIO(text)))
        assert {row["label"] for row in rows} == {f"'{HOSTILE}"}


def test_numbers_and_names_stay():
    cells = ["-0.5", "+1e3", "lake", "@name", "=A1", 3, None]
    expected = ["-0.5", "+1e3", "lake", "'@name", "'=A1", 3, None]
    assert [tables.csv_cell(cell) for cell in cells] == expected
    assert tables.markdown_text("L_s\n a`b`") == r"L_s a\`b\`"
