"""Agreement of a quantized model with float32."""

import numpy as np
import pytest

from advance_tf.serving import agreement, litert


def test_agreement_is_measured_and_a_low_one_is_refused(decoded, float32):
    class Different(litert.LiteModel):
        """Predicts another scene for the first of seven pairs."""

        def probs(self, decoded, signature=litert.RECOGNIZE):
            found = super().probs(decoded, signature)
            scenes = found["scene_probs"].copy()
            scenes[0] = np.roll(scenes[0], 1)
            return {**found, "scene_probs": scenes}

    true = np.arange(7)
    figures = agreement.measure(
        litert.LiteModel(float32),
        Different(float32),
        [decoded],
        true,
    )
    main = figures["signatures"]["recognize"]
    assert main["agreement"] == pytest.approx(6 / 7)
    # No answer of this model is rejected.
    assert (main["unknown_float32"], main["unknown"]) == (0, 0)
    assert main["equal_answers"] == pytest.approx(6 / 7)
    assert main["weighted_f_change"] == main["weighted_f"] - main["weighted_f_float32"]
    agreement.check_agreement(figures, 0.8, "int8")
    with pytest.raises(ValueError, match=r"at least 0.9 .* on 0.8571 of 7"):
        agreement.check_agreement(figures, 0.9, "int8")


def test_probabilities_must_be_finite():
    with pytest.raises(ValueError, match="scene_probs must be finite"):
        agreement.check_probs({"scene_probs": np.array([np.nan])})
