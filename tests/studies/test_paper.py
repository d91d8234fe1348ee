"""The paper's rows: figures as printed, a recipe and a reference for each."""

import json

import pytest

from advance_tf import config_flags
from advance_tf.studies.paper import TABLES, paper_rows, recipe_path
from tests.imports import ROOT

PRINTED = ROOT / "tests/golden/paper_tables.json"


@pytest.mark.parametrize("table", TABLES)
def test_every_figure_is_as_printed(table):
    tables = json.loads(PRINTED.read_text(encoding="utf-8"))
    printed = tables[str(table)]
    if table == 3:
        # What its rows are compared with is printed in Table 1.
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
def test_recipes_do_what_their_rows_say(table):
    for row in paper_rows(table):
        config = config_flags.parse([f"--flagfile={recipe_path(row.recipe)}"])
        reference = config_flags.parse([f"--flagfile={recipe_path(row.reference)}"])
        if row.name.endswith("†"):
            pretrained = ["--image_weights=x", "--image_frozen_stages=5"]
            pretrained += ["--audio_frozen_stages=5", "--freeze_batch_norm"]
            flags = [*pretrained, f"--flagfile={recipe_path(row.recipe)}"]
            assert config_flags.parse(flags).model == config.model
        modality, objective = row.name.split(", ")
        assert config.model.modality == modality
        assert reference.model.modality in (modality, "both")
        assert reference.transfer.transfer == "none"
        assert (config.transfer.scene_weight == 0) == objective.endswith("alone")
        kind = {"SQ": "sq", "KL": "kl", "L_E": "event", "L_E1": "event"}
        words = objective.removeprefix("L_s").removeprefix(" + ").split()
        wanted = kind[words[0]] if words and words[0] in kind else "none"
        assert config.transfer.transfer.split("_")[0] == wanted
        if "audio" in words:
            assert config.transfer.transfer.endswith("_audio")
        assert (config.transfer.beta == 0) == (row.name == "both, L_E1 alone")
