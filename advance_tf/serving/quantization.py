"""Quantization of LiteRT models: weights of towers and heads in 16 or 8 bits."""

import pathlib
from collections.abc import Sequence

import numpy as np

from advance_tf.extras import check_extra
from advance_tf.log_silencing import silence_logs
from advance_tf.serving.flatbuffer import read_model, write_model
from advance_tf.serving.litert import RECOGNIZE, LiteModel
from advance_tf.serving.parity import Decoded
from advance_tf.serving.weight_rounding import has_depthwise, round_weights

KINDS = ("none", "float16", "dynamic", "int8")

# Layers with weights in 16 bits and in 8 bits, by name. The input of the first
# convolution reaches 255, and 8 bits there cost most of the agreement; the inputs of
# the heads have other ranges when an image or a sound is missing. The computation of
# the log-mel, that of YAMNet's `patches` too, stays in float32: 80 dB of magnitude is
# a ratio of 1e8. ResNets have layers `layer4_0_…`, YAMNet `layer14_pointwise_…`,
# EfficientNet-Lite0 `blocks_15_…`; layers of other names stay in float32, or in 16
# bits with float16. The first block of EfficientNet-Lite0, with depthwise weights up
# to 18, loses most in 8 bits. YAMNet's scores have half a million weights, in 8 bits,
# and are otherwise computed in float32.
_HEADS = "scene_head|event_head"
_FIRST = rf"_tower.*(conv1_1/|conv_stem)|{_HEADS}"
_SCOPES = {
    "float16": (rf"_tower(?!.*patches)|{_HEADS}", ""),
    "dynamic": (
        rf"{_FIRST}|_tower.*(layer[12]_\d|layer(\d|1[0-2])_[dp]|blocks_(\d|10)_)",
        r"_tower.*(layer[34]_\d|layer1[34]_|blocks_1[1-5]_|conv_head)",
    ),
    "int8": (_FIRST, r"_tower.*(layer\d+_|blocks_([1-9]|1\d)_|conv_head)"),
}
_DYNAMIC_IN_INT8 = r"_tower.*scores"


def quantize(
    contents: bytes, kind: str, folder: pathlib.Path, calibration: Decoded | None
) -> bytes:
    """Quantizes a float32 flatbuffer.

    float16: weights in 16 bits, computed in float32. dynamic: the last two
    stages, which hold nine tenths of the weights, in 8 bits for each channel, with
    activations quantized to 8 bits at run time; the rest as in float16. int8:
    weights and activations of all residual stages in 8 bits, ranges from
    `calibration`; the first convolutions and the heads as in float16. In networks with
    depthwise convolutions the rounding of int8 compensates its errors, see
    `weight_rounding`.

    Args:
        contents: contents of `litert.convert`.
        kind: "float16", "dynamic" or "int8".
        folder: for temporary files.
        calibration: pairs of the training split; needed by int8.

    Returns:
        The flatbuffer.

    Raises:
        ImportError: ai-edge-quantizer is not installed.
        ValueError: int8 has no calibration pairs.
    """
    check_extra("export", "ai_edge_quantizer")
    from ai_edge_quantizer import qtyping, quantizer
    from ai_edge_quantizer.algorithm_manager import AlgorithmName

    if kind == "int8" and calibration is None:
        raise ValueError(
            "calibration must hold pairs for int8; received None. Decode pairs of the "
            "training split."
        )
    operations = qtyping.TFLOperationName
    float16 = qtyping.OpQuantizationConfig(
        weight_tensor_config=qtyping.TensorQuantizationConfig(
            num_bits=16, dtype=qtyping.TensorDataType.FLOAT
        ),
        compute_precision=qtyping.ComputePrecision.FLOAT,
        explicit_dequantize=True,
    )
    if kind == "int8" and calibration is not None and has_depthwise(contents):
        contents = round_weights(contents, calibration)
    path = folder / "float32.tflite"
    path.write_bytes(contents)
    scope_16_bits, scope_8_bits = _SCOPES[kind]
    with silence_logs():
        recipe = quantizer.Quantizer(str(path))
        for operation in (operations.CONV_2D, operations.FULLY_CONNECTED):
            recipe.update_quantization_recipe(
                scope_16_bits, operation, float16, AlgorithmName.FLOAT_CASTING
            )
            if kind == "dynamic":
                recipe.add_dynamic_config(scope_8_bits, operation, 8)
        ranges = None
        if calibration is not None and kind == "int8":
            recipe.add_static_config(scope_8_bits, operations.ALL_SUPPORTED, 8, 8)
            recipe.add_dynamic_config(_DYNAMIC_IN_INT8, operations.FULLY_CONNECTED, 8)
            # All signatures are calibrated on the same pairs, so that the weights
            # that they share have the same ranges in each of them.
            signatures = LiteModel(contents).all_signatures
            ranges = recipe.calibrate(
                {name: _samples(calibration, name, signatures) for name in signatures}
            )
        quantized = recipe.quantize(ranges, enable_progress_report=False)
    return write_model(read_model(bytes(quantized.quantized_model)))


def _samples(
    pairs: Decoded, signature: str, signatures: Sequence[str]
) -> Sequence[dict[str, np.ndarray]]:
    """The inputs of a signature, one dictionary for each pair."""
    single = {"image_only": ("image",), "sound_only": ("waveform",)}
    if RECOGNIZE in signatures:
        used: tuple[str, ...] = ("image", "waveform")
    else:
        used = single[next(iter(set(single) & set(signatures)))]
    # `recognize` and `embed` have all inputs in use.
    names = single.get(signature, used)
    return [
        {name: getattr(pairs, name)[row : row + 1] for name in names}
        for row in range(len(pairs.image))
    ]
