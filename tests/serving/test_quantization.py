"""Quantized LiteRT models are smaller and predict nearly the same."""

import sys

import pytest

from advance_tf.serving import agreement, litert, parity, quantization


@pytest.mark.parametrize("kind", ["float16", "dynamic", "int8"])
def test_quantized_models_predict_nearly_the_same(decoded, float32, tmp_path, kind):
    quantized = quantization.quantize(float32, kind, tmp_path, decoded)
    assert len(quantized) < 0.9 * len(float32)
    model, original = litert.LiteModel(quantized), litert.LiteModel(float32)
    for signature in model.signatures:
        found = model.probs(decoded, signature)
        agreement.check_probs(found)
        expected = original.probs(decoded, signature)
        limit = {"float16": 0.01, "dynamic": 0.05, "int8": 0.15}[kind]
        difference = parity.largest_difference(expected, found)
        assert 0 < difference < limit, signature
    assert not [name for name in litert.operators(quantized) if "CUSTOM" in name]


def test_int8_needs_calibration_pairs(float32, tmp_path):
    with pytest.raises(ValueError, match="calibration must hold pairs for int8"):
        quantization.quantize(float32, "int8", tmp_path, None)


def test_a_missing_quantizer_names_its_extra(float32, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "ai_edge_quantizer", None)
    with pytest.raises(ImportError, match=r"advance_tf\[export\]"):
        quantization.quantize(float32, "float16", tmp_path, None)
