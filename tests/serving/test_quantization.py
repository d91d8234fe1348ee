"""Quantized LiteRT models are smaller and predict nearly the same."""

import dataclasses
import re
import sys

import pytest
from ai_edge_litert import schema_py_generated as schema

from advance_tf.config import RANDOM_WEIGHTS, ModelConfig
from advance_tf.models.recognizer import build_recognizer
from advance_tf.serving import (
    agreement,
    litert,
    parity,
    quantization,
    tower_layers,
)
from advance_tf.serving.flatbuffer import read_model
from advance_tf.serving.inference_model import InferenceModel, Source
from tests.serving.factories import FEATURES, create_pairs

INT8, FLOAT16 = schema.TensorType.INT8, schema.TensorType.FLOAT16
# The convolutions with weights in 8 bits, by their outputs; the others have 16 bits.
IN_8_BITS = {
    "float16": r"(?!)",
    "dynamic": r"_tower.*layer[34]_",
    "int8": r"_tower.*layer[1-4]_",
}


def kernel_types(contents):
    """The output's name and the kernel's type of every convolution."""
    model = read_model(contents)
    codes = [max(c.builtinCode, c.deprecatedBuiltinCode) for c in model.operatorCodes]
    found = []
    for graph in model.subgraphs:
        producers = {op.outputs[0]: op for op in graph.operators}
        for op in graph.operators:
            if codes[op.opcodeIndex] != schema.BuiltinOperator.CONV_2D:
                continue
            kernel = op.inputs[1]
            # 16 bits are converted to 32 before the convolution.
            if kernel in producers:
                kernel = producers[kernel].inputs[0]
            name = graph.tensors[op.outputs[0]].name.decode()
            found.append((name, graph.tensors[kernel].type))
    return found


@pytest.mark.parametrize("kind", ["float16", "dynamic", "int8"])
def test_quantized_models_predict_nearly_the_same(decoded, float32, tmp_path, kind):
    quantized = quantization.quantize(float32, kind, tmp_path, decoded)
    assert len(quantized) < 0.9 * len(float32)
    types = kernel_types(quantized)
    # Two ResNets of 20 convolutions; three signatures run one or both, `embed` both.
    assert len(types) == 3 * 2 * 20
    for name, found in types:
        in_8_bits = re.search(IN_8_BITS[kind], name) is not None
        assert found == (INT8 if in_8_bits else FLOAT16), name
    assert {found for _, found in types} == (
        {FLOAT16} if kind == "float16" else {INT8, FLOAT16}
    )
    model, original = litert.LiteModel(quantized), litert.LiteModel(float32)
    for signature in model.signatures:
        found = model.probs(decoded, signature)
        agreement.check_probs(found)
        expected = original.probs(decoded, signature)
        limit = {"float16": 0.01, "dynamic": 0.05, "int8": 0.15}[kind]
        difference = parity.largest_difference(expected, found)
        assert 0 < difference < limit, signature
    assert not [name for name in litert.operators(quantized) if "CUSTOM" in name]


def test_the_layers_of_a_network_of_keras_are_quantized(tmp_path):
    features = dataclasses.replace(FEATURES, clip_seconds=1.0)
    model = ModelConfig(
        modality="image",
        image_backbone="keras:MobileNetV3Small",
        image_weights=RANDOM_WEIGHTS,
        audio_depth=10,
        audio_width=4,
    )
    source = Source(build_recognizer(model, features), features, modality="image")
    float32 = litert.convert(InferenceModel(source, litert=True), tmp_path)
    decoded = parity.decode(source, create_pairs(2))
    sizes = {}
    for kind, expected in (("float16", 0.0), ("dynamic", 0.7), ("int8", 0.95)):
        contents = quantization.quantize(float32, kind, tmp_path, decoded)
        sizes[kind] = len(contents)
        (shares,) = tower_layers.weight_shares(contents).values()
        assert expected <= shares["8 bits"] <= (expected and 1), kind
        assert shares["32 bits"] < 0.05
        types = kernel_types(contents)
        # The first convolution comes first in both signatures.
        assert [found for name, found in types if "tower/conv_1/" in name] == [
            FLOAT16,
            FLOAT16,
        ]
        agreement.check_probs(litert.LiteModel(contents).probs(decoded, "image_only"))
    assert max(sizes["int8"], sizes["dynamic"]) < 0.7 * sizes["float16"]
    assert sizes["float16"] < 0.55 * len(float32)


def test_int8_needs_calibration_pairs(float32, tmp_path):
    with pytest.raises(ValueError, match="calibration must hold pairs for int8"):
        quantization.quantize(float32, "int8", tmp_path, None)


def test_a_missing_quantizer_names_its_extra(float32, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "ai_edge_quantizer", None)
    with pytest.raises(ImportError, match=r"advance_tf\[export\]"):
        quantization.quantize(float32, "float16", tmp_path, None)
