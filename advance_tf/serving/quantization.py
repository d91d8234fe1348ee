"""Smaller files: the towers' and heads' weights in 16 or 8 bits, calibrated."""

import pathlib
from collections.abc import Sequence

from ai_edge_quantizer import qtyping, quantizer
from ai_edge_quantizer.algorithm_manager import AlgorithmName

from advance_tf.serving.answers import Decoded
from advance_tf.serving.lite import LiteModel
from advance_tf.serving.quiet import quiet

MIN_AGREEMENT = {"none": 0.99, "float16": 0.99, "dynamic": 0.99, "int8": 0.97}

# What stays in 16 bits, by the names of the layers, and what takes eight. The
# first convolution sees levels up to 255 and costs most of the agreement in eight
# bits; the heads see other ranges when an input is missing. The way from the
# waveform to the log-mel stays in float32: 80 dB of magnitude is a ratio of 1e8.
_SCOPES = {
    "float16": ("_tower|_head", ""),
    "dynamic": (r"_tower.*(conv1_1/|layer[12]_)|_head", r"_tower.*layer[34]_"),
    "int8": (r"_tower.*conv1_1/|_head", r"_tower.*layer\d_"),
}
_Operation = qtyping.TFLOperationName
_WEIGHTED = (_Operation.CONV_2D, _Operation.FULLY_CONNECTED)
_FLOAT16 = qtyping.OpQuantizationConfig(
    weight_tensor_config=qtyping.TensorQuantizationConfig(
        num_bits=16, dtype=qtyping.TensorDataType.FLOAT
    ),
    compute_precision=qtyping.ComputePrecision.FLOAT,
    explicit_dequantize=True,
)


def quantize(
    contents: bytes, kind: str, folder: pathlib.Path, calibration: Decoded | None
) -> bytes:
    """A float32 flatbuffer in fewer bits.

    float16: weights in 16 bits, computed in float32. dynamic: the last two
    stages, which hold nine tenths of the weights, in 8 bits by channel, with
    activations in 8 bits as they come; the rest as in float16. int8: weights and
    activations of all residual stages in 8 bits, ranges from `calibration`; the
    first convolutions and the heads as in float16.

    Args:
        contents: of `lite.convert`.
        kind: "float16", "dynamic" or "int8".
        folder: to work in.
        calibration: real pairs of the training split; int8 alone needs them.

    Returns:
        The flatbuffer.
    """
    path = folder / "float32.tflite"
    path.write_bytes(contents)
    with quiet():
        made = quantizer.Quantizer(str(path))
        halves, eighths = _SCOPES[kind]
        for operation in _WEIGHTED:
            made.update_quantization_recipe(
                halves, operation, _FLOAT16, AlgorithmName.FLOAT_CASTING
            )
            if kind == "dynamic":
                made.add_dynamic_config(eighths, operation, 8)
        result = None
        if kind == "int8":
            assert calibration is not None
            made.add_static_config(eighths, _Operation.ALL_SUPPORTED, 8, 8)
            # Every signature sees the same pairs, so that what they share, the
            # towers' weights, has the same ranges in all of them.
            signatures = LiteModel(contents).signatures
            result = made.calibrate(
                {name: _samples(calibration, name) for name in signatures}
            )
        quantized = made.quantize(result, enable_progress_report=False)
    return bytes(quantized.quantized_model)


def _samples(pairs: Decoded, signature: str) -> Sequence[dict]:
    names = {"image_only": ("image",), "sound_only": ("waveform",)}
    chosen = names.get(signature, ("image", "waveform"))
    return [
        {name: getattr(pairs, name)[row : row + 1] for name in chosen}
        for row in range(len(pairs.image))
    ]
