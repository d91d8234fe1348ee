"""The scene loss, and scenes in every type and shape."""

import numpy as np
import pytest

from advance_tf.losses.scene import SceneLoss
from tests.losses import expected
from tests.losses.cases import BATCH, SCENE, SCENES, create_case, to_float64


def test_value_is_exact_for_confident_correct_examples():
    logits = np.float32(15 * np.eye(SCENES)[SCENE])
    np.testing.assert_allclose(
        SceneLoss().call(SCENE, logits),
        expected.scene_loss(SCENE, np.float64(logits)),
        rtol=1e-5,
    )


@pytest.mark.parametrize("smoothing", [0.0, 0.3])
@pytest.mark.parametrize("weighted", [False, True])
def test_smoothing_and_weights_of_scenes(smoothing, weighted):
    rng = np.random.default_rng(0)
    logits = rng.normal(0, 3, (BATCH, SCENES))
    weights = rng.uniform(0, 2, SCENES) if weighted else None
    loss = SceneLoss(smoothing, weights)
    target = (1 - smoothing) * np.eye(SCENES)[SCENE] + smoothing / SCENES
    examples = -(target * expected.log_softmax(logits)).sum(axis=1)
    if weighted:
        examples *= weights[SCENE]
    np.testing.assert_allclose(loss.call(SCENE, logits), examples, rtol=1e-5)
    # The mean over the batch, whatever the sum of the weights.
    assert float(loss(SCENE, logits)) == pytest.approx(examples.mean(), rel=1e-5)
    copied = SceneLoss.from_config(loss.get_config())
    np.testing.assert_array_equal(copied.call(SCENE, logits), loss.call(SCENE, logits))


def test_a_smoothing_of_one_is_refused():
    with pytest.raises(ValueError, match="less than 1; received 1"):
        SceneLoss(label_smoothing=1)


@pytest.mark.parametrize("name", ["scene", "relevance"])
@pytest.mark.parametrize("shape", [(BATCH,), (BATCH, 1)])
@pytest.mark.parametrize("kind", ["int32", "int64", "float32"])
def test_scenes_may_have_any_number_type_and_rank(name, shape, kind):
    case = create_case(name)
    value = case.loss(SCENE.reshape(shape).astype(kind), case.output)
    examples = case.expected(SCENE, to_float64(case.output))
    assert float(value) == pytest.approx(examples.mean(), 1e-5)
