"""An export that fails requests with bad rows answers the other rows of a batch."""

import numpy as np
import pytest
import tensorflow as tf

from advance_tf.inference.backends import SavedModel
from advance_tf.serving.inference_model import InferenceModel
from advance_tf.serving.saved_model import write_saved_model
from tests.serving.factories import create_pairs, create_source

PAIRS = create_pairs(3)


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    folder = tmp_path_factory.mktemp("export") / "1"
    folder.mkdir()
    write_saved_model(
        folder,
        InferenceModel(create_source("none")),
        bad_rows="error",
        warmup=PAIRS[0]._asdict(),
    )
    return SavedModel(folder)


def test_a_bad_row_has_a_status_and_the_others_are_predicted(model, tmp_path):
    path = tmp_path / "bad.jpg"
    path.write_bytes(b"no image")
    good = [{"image": pair.image, "sound": pair.sound} for pair in PAIRS]
    bad = [
        {"image": path, "sound": PAIRS[0].sound},
        {"image": PAIRS[0].image, "sound": b"RIFF"},
        {"image": path},
    ]
    with pytest.raises(tf.errors.InvalidArgumentError):
        model._call(("image_bytes",), [{"image_bytes": b"no image"}])
    answers = list(model.predict_batch([good[0], *bad[:2], *good[1:], bad[2]]))
    assert [one.ok for one in answers] == [True, False, False, True, True, False]
    rule = "the image must be a valid JPEG, PNG, BMP or WebP: it is in another format"
    assert answers[1].status == answers[5].status == f"{path}: {rule}"
    assert answers[2].status.startswith("the sound must be a valid WAV file: ")
    assert answers[1].scenes == ()
    for answer, given in zip((answers[0], *answers[3:5]), good, strict=True):
        alone = model.predict(**given).scene_probs
        assert answer.scene_probs == pytest.approx(alone, abs=1e-5)
    assert np.ptp([answers[0].confidence, answers[3].confidence]) > 0
