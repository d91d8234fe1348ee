"""The rejection of inputs of no scene, against predictions one by one."""

import numpy as np
import pytest
import tensorflow as tf

from advance_tf.inference.evaluation import evaluate
from advance_tf.inference.loading import load_model
from advance_tf.metrics.rejection import rejection_auroc
from advance_tf.reporting.rejection import (
    evaluation_curve,
    foreign_images,
    markdown,
    measure_rejection,
)
from advance_tf.runs.workdir import load_run
from tests.untrained_run import copy_run


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return load_run(copy_run(tmp_path_factory))


def test_rows_are_those_of_single_predictions(run, tmp_path):
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (3, 4, 4, 3), np.uint8).repeat(8, 1).repeat(8, 2)
    for number, image in enumerate(images):
        path = tmp_path / f"{number}.png"
        path.write_bytes(tf.io.encode_png(image).numpy())
    rows = measure_rejection(run, "test", tmp_path)
    names = [(row.inputs, row.name, row.count) for row in rows]
    count = len(run.pairs_of("test"))
    assert names == [
        ("image", "pairs of test", count),
        ("image", "images of other classes", 3),
        ("image", "noise", 50),
        ("image", "black", 1),
        ("sound", "pairs of test", count),
        ("sound", "noise", 50),
        ("sound", "silence", 1),
    ]
    model = load_model(run)
    inside = [
        1 - model.predict(image=run.data_dir / pair.image).confidence
        for pair in run.pairs_of("test")
    ]
    outside = [1 - model.predict(image=image).confidence for image in images]
    expected = rejection_auroc(inside, outside)
    assert rows[1].auroc_confidence == pytest.approx(expected, abs=1e-3)
    # The run has no calibration, hence no distances.
    assert np.isnan(rows[1].auroc_distance)
    assert [row.unknown for row in rows[2:4]] == [0, 1]
    assert [row.unknown for row in rows[5:]] == [0, 1]
    assert len(markdown(rows).splitlines()) == 9


def test_the_curve_ends_with_the_error_of_the_evaluation(run):
    evaluation = evaluate(run, "test")
    curve = evaluation_curve(run, evaluation)
    errors = (evaluation.predicted != evaluation.true).mean()
    assert curve.risk[-1] == pytest.approx(errors)


def test_a_folder_without_images_is_refused(tmp_path):
    with pytest.raises(ValueError, match="outside_dir must hold images"):
        foreign_images(tmp_path, 32)


def test_entries_of_systems_are_no_foreign_images(tmp_path):
    for name in ("a.jpg", "b/c.PNG", "._a.jpg", "__MACOSX/a.jpg", "b/Thumbs.db"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    found = foreign_images(tmp_path, 32)["images of other classes"]
    paths = [str(tmp_path / name) for name in ("a.jpg", "b/c.PNG")]
    assert [example.image for example in found] == paths
