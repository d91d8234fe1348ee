"""Tables beside the paper's: every figure at its place, in all three forms."""

import csv
import io

import pytest

from advance_tf.metrics.comparison import Row
from advance_tf.metrics.paper_comparison import BesidePaper, latex, markdown, to_csv

_NAN = float("nan")
_PAPER = {"precision": (0.7, 0.01), "recall": (0.6, 0.02), "f_score": (0.5, 0.03)}


def scores(precision, recall, f_score):
    return {"precision": precision, "recall": recall, "f_score": f_score}


LINES = (
    BesidePaper(
        Row("both, L_s", 2, scores(0.5, 0.25, 0.3), scores(0.1, 0.2, 0.05), None),
        "both, L_s",
        _PAPER,
    ),
    BesidePaper(
        Row(
            "both, L_s + β L_E2",
            1,
            scores(0.6, 0.35, 0.4),
            scores(_NAN, _NAN, _NAN),
            (0.1, -0.02, 0.22),
            (0.1, -0.05, 0.25),
        ),
        "both, L_s",
        _PAPER,
    ),
)


def test_markdown_has_ours_the_papers_and_the_differences():
    text = markdown(LINES, "Table 9", "synthetic")
    head, rows = text.split("| :-- |")
    assert "## Table 9" in head
    assert "> **synthetic**" in head
    cells = [line.split(" | ") for line in rows.strip().splitlines()[1:]]
    assert cells[0][1:5] == ["2", "50.00 ± 10.00", "25.00 ± 20.00", "30.00 ± 5.00"]
    assert cells[0][5:8] == ["70.00 ± 1.00", "60.00 ± 2.00", "50.00 ± 3.00"]
    assert cells[0][8] == "reference"
    assert cells[1][1:3] == ["1", "60.00"]
    assert cells[1][8] == "+10.00 (-2.00 to +22.00)"
    assert cells[1][9] == "-5.00 to +25.00 |"


def test_csv_holds_the_numbers_and_leaves_out_what_is_not_there():
    first, second = csv.DictReader(io.StringIO(to_csv(LINES, "synthetic")))
    assert float(first["f_score"]) == 0.3
    assert float(first["f_score_deviation"]) == 0.05
    assert first["f_score_difference"] == first["f_score_low_over_runs"] == ""
    assert float(second["paper_recall"]) == 0.6
    assert float(second["paper_recall_deviation"]) == 0.02
    assert second["f_score_deviation"] == ""
    assert float(second["f_score_low"]) == -0.02
    assert float(second["f_score_high_over_runs"]) == 0.25
    assert second["label"] == "synthetic"


def test_latex_escapes_and_has_a_cell_for_every_column():
    text = latex(LINES, "Table 9", "100 % of A_B & more")
    assert r"100 \% of A\_B \& more" in text
    body = text.split(r"\midrule")[1].split(r"\bottomrule")[0]
    rows = [row for row in body.split(r"\\") if row.strip()]
    columns = text.split(r"\begin{tabular}{")[1].split("}")[0]
    assert [row.count(" & ") for row in rows] == [len(columns) - 1] * 2
    assert r"$L_s$ + $\beta$ $L_{E2}$" in rows[1]
    assert r"50.00 $\pm$ 10.00" in rows[0]


@pytest.mark.parametrize("sign", ["±", "α", "β", "†", "−", "Σ", "→", "山"])
def test_latex_has_no_sign_that_its_default_engine_refuses(sign):
    assert sign not in latex(LINES, f"Table {sign}")


@pytest.mark.parametrize("sign", list("%_&#${}"))
def test_latex_escapes_its_own_signs_once(sign):
    text = latex([], "", f"a{sign}b")
    assert f"a\\{sign}b" in text


def test_latex_writes_the_other_signs_of_its_own_in_words():
    text = latex([], r"a\b~c^d", "")
    assert r"a\textbackslash{}b\textasciitilde{}c\textasciicircum{}d" in text


def test_latex_has_a_minus_before_numbers_and_a_key():
    text = latex(LINES, "x", key="table9")
    assert r"($-$2.00 to +22.00)" in text
    assert r"\label{tab:table9}" in text
