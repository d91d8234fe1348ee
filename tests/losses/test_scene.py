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


@pytest.mark.parametrize("name", ["scene", "relevance"])
@pytest.mark.parametrize("shape", [(BATCH,), (BATCH, 1)])
@pytest.mark.parametrize("kind", ["int32", "int64", "float32"])
def test_scenes_may_have_any_number_type_and_rank(name, shape, kind):
    case = create_case(name)
    value = case.loss(SCENE.reshape(shape).astype(kind), case.output)
    examples = case.expected(SCENE, to_float64(case.output))
    assert float(value) == pytest.approx(examples.mean(), 1e-5)
