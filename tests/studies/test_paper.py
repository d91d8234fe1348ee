"""The paper's rows: figures as printed, a recipe and a reference for each."""

import pathlib

import pytest

from advance_tf import config_flags
from advance_tf.studies.paper import TABLES, paper_rows, recipe_path

METHOD = pathlib.Path(__file__).parents[3] / "shared/METHOD.md"


def rows_by_name(table):
    return {row.name: row for row in paper_rows(table)}


def test_figures_are_those_of_the_paper():
    assert len(paper_rows(1)) == 8
    event = rows_by_name(1)["both, L_s + L_E"]
    assert event.scores["precision"] == pytest.approx((0.7525, 0.0034))
    assert event.scores["f_score"] == pytest.approx((0.7458, 0.0025))
    random = rows_by_name(2)["sound, L_s†"]
    assert random.scores["recall"] == pytest.approx((0.2454, 0.0067))
    alone = rows_by_name(3)["both, L_E1 + β L_E2 alone"]
    assert alone.scores["f_score"] == pytest.approx((0.4865, 0.0085))


@pytest.mark.skipif(not METHOD.exists(), reason="shared/ is not beside the checkout")
@pytest.mark.parametrize("table", TABLES)
def test_every_figure_stands_in_the_description_of_the_method(table):
    text = METHOD.read_text(encoding="utf-8")
    for row in paper_rows(table):
        triple = " / ".join(
            f"{100 * mean:.2f}±{100 * deviation:.2f}"
            for mean, deviation in row.scores.values()
        )
        assert triple in text, f"{row.name}: {triple}"


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
