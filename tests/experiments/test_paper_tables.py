"""Rows of the paper's tables, and measured scores in Markdown, CSV and LaTeX."""

import csv
import io
import json

import pytest

from advance_tf.config import Config
from advance_tf.config_io import replace_fields
from advance_tf.experiments.paper_tables import (
    TABLES,
    TableLine,
    latex,
    markdown,
    paper_rows,
    recipe_path,
    to_csv,
)
from advance_tf.experiments.recipes import read_recipe
from advance_tf.metrics.comparison import Row
from tests.imports import ROOT

PRINTED = ROOT / "tests/golden/paper_tables.json"


@pytest.mark.parametrize("table", TABLES)
def test_every_score_is_as_printed(table):
    tables = json.loads(PRINTED.read_text(encoding="utf-8"))
    printed = tables[str(table)]
    if table == 3:
        # The reference of its rows is printed in Table 1.
        printed |= {"both, L_s": tables["1"]["both, L_s"]}
    found = {
        row.name: " / ".join(
            f"{100 * row.scores[score][0]:.2f}±{100 * row.scores[score][1]:.2f}"
            for score in ("precision", "recall", "f_score")
        )
        for row in paper_rows(table)
    }
    assert found == printed


def test_every_row_has_its_reference_in_its_table():
    for table in TABLES:
        rows = paper_rows(table)
        recipes = [row.recipe for row in rows]
        assert len(set(recipes)) == len(recipes)
        assert {row.reference for row in rows} <= set(recipes)
    assert paper_rows(3)[0].name == "both, L_s"


@pytest.mark.parametrize("table", TABLES)
def test_recipes_match_the_names_of_their_rows(table):
    for row in paper_rows(table):
        config = replace_fields(Config(), read_recipe(recipe_path(row.recipe)))
        reference = replace_fields(Config(), read_recipe(recipe_path(row.reference)))
        if row.name.endswith("†"):
            pretrained = {
                "image_weights": "x",
                "image_frozen_stages": 5,
                "audio_frozen_stages": 5,
                "freeze_batch_norm": True,
            }
            values = pretrained | read_recipe(recipe_path(row.recipe))
            assert replace_fields(Config(), values).model == config.model
        modality, objective = row.name.split(", ")
        assert config.model.modality == modality
        assert reference.model.modality in (modality, "both")
        assert reference.transfer.transfer == "none"
        assert (config.transfer.scene_weight == 0) == objective.endswith("alone")
        transfers = {"SQ": "sq", "KL": "kl", "L_E": "event", "L_E1": "event"}
        words = objective.removeprefix("L_s").removeprefix(" + ").split()
        expected = transfers.get(words[0], "none") if words else "none"
        assert config.transfer.transfer.split("_")[0] == expected
        if "audio" in words:
            assert config.transfer.transfer.endswith("_audio")
        assert (config.transfer.beta == 0) == (row.name == "both, L_E1 alone")


_NAN = float("nan")
_PAPER = {"precision": (0.7, 0.01), "recall": (0.6, 0.02), "f_score": (0.5, 0.03)}


def scores(precision, recall, f_score):
    return {"precision": precision, "recall": recall, "f_score": f_score}


LINES = (
    TableLine(
        Row("both, L_s", 2, scores(0.5, 0.25, 0.3), scores(0.1, 0.2, 0.05), None),
        "both, L_s",
        _PAPER,
    ),
    TableLine(
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


def test_markdown_has_both_scores_and_the_differences():
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


def test_csv_has_the_numbers_and_leaves_undefined_ones_empty():
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


def test_latex_is_escaped_and_has_a_cell_for_every_column():
    text = latex(LINES, "Table 9", "100 % of A_B & more")
    assert r"100 \% of A\_B \& more" in text
    body = text.split(r"\midrule")[1].split(r"\bottomrule")[0]
    rows = [row for row in body.split(r"\\") if row.strip()]
    columns = text.split(r"\begin{tabular}{")[1].split("}")[0]
    assert [row.count(" & ") for row in rows] == [len(columns) - 1] * 2
    assert r"$L_s$ + $\beta$ $L_{E2}$" in rows[1]
    assert r"50.00 $\pm$ 10.00" in rows[0]


@pytest.mark.parametrize("sign", ["±", "α", "β", "†", "−", "Σ", "→", "山"])
def test_latex_has_no_character_that_its_default_engine_refuses(sign):
    assert sign not in latex(LINES, f"Table {sign}")


@pytest.mark.parametrize("sign", list("%_&#${}"))
def test_latex_escapes_special_characters_once(sign):
    text = latex([], "", f"a{sign}b")
    assert f"a\\{sign}b" in text


def test_latex_writes_other_special_characters_as_commands():
    text = latex([], r"a\b~c^d", "")
    assert r"a\textbackslash{}b\textasciitilde{}c\textasciicircum{}d" in text


def test_latex_has_a_minus_before_numbers_and_a_key():
    text = latex(LINES, "x", key="table9")
    assert r"($-$2.00 to +22.00)" in text
    assert r"\label{tab:table9}" in text
