"""Quantization of LiteRT models: weights of towers and heads in 16 or 8 bits."""

import pathlib
from collections.abc import Sequence

import numpy as np

from advance_tf.extras import check_extra
from advance_tf.log_silencing import silence_logs
from advance_tf.serving.flatbuffer import read_model, write_model
from advance_tf.serving.litert import RECOGNIZE, LiteModel
from advance_tf.serving.parity import Decoded
from advance_tf.serving.tower_layers import (
    check_8_bits,
    choose_layers,
    exactly,
    weight_shares,
)
from advance_tf.serving.weight_rounding import has_depthwise, round_weights

KINDS = ("none", "float16", "dynamic", "int8")

# The heads have 16 bits: their inputs have other ranges when an image or a sound is
# missing.
_HEADS = "scene_head|event_head"


def quantize(
    contents: bytes, kind: str, folder: pathlib.Path, calibration: Decoded | None
) -> bytes:
    """Quantizes a float32 flatbuffer.

    float16: kernels in 16 bits, computed in float32. dynamic: the last layers, which
    hold nine tenths of the weights, in 8 bits for each channel, with activations
    quantized to 8 bits at run time; the rest as in float16. int8: weights and
    activations after the first convolution or block in 8 bits, ranges from
    `calibration`; the rest and the heads as in float16. A network with attention, or
    with a normalization of its activations, has dynamic ranges in int8 too. With
    depthwise convolutions the rounding of int8 compensates its errors, see
    `weight_rounding`. The layers are those of `tower_layers`.

    Args:
        contents: contents of `litert.convert`.
        kind: "float16", "dynamic" or "int8".
        folder: for temporary files.
        calibration: pairs of the training split; needed by int8.

    Returns:
        The flatbuffer.

    Raises:
        ImportError: ai-edge-quantizer is not installed.
        ValueError: int8 has no calibration pairs, or a tower has no layers that can
            be in 8 bits.
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
    layers = choose_layers(contents, kind)
    if calibration is not None and has_depthwise(contents, layers.static_kernels):
        contents = round_weights(contents, calibration, layers.static_kernels)
    path = folder / "float32.tflite"
    path.write_bytes(contents)
    of_layers = (
        operations.CONV_2D,
        operations.DEPTHWISE_CONV_2D,
        operations.FULLY_CONNECTED,
    )
    with silence_logs():
        recipe = quantizer.Quantizer(str(path))
        for operation in of_layers:
            for scope in (_HEADS, exactly(layers.half)):
                recipe.update_quantization_recipe(
                    scope, operation, float16, AlgorithmName.FLOAT_CASTING
                )
            if layers.dynamic:
                recipe.add_dynamic_config(exactly(layers.dynamic), operation, 8)
            if layers.static:
                recipe.add_static_config(exactly(layers.static), operation, 8, 8)
        ranges = None
        if calibration is not None and layers.static:
            every = exactly(layers.static_operators)
            recipe.add_static_config(every, operations.ALL_SUPPORTED, 8, 8)
            # All signatures are calibrated on the same pairs, so that the weights
            # that they share have the same ranges in each of them.
            signatures = LiteModel(contents).all_signatures
            ranges = recipe.calibrate(
                {name: _samples(calibration, name, signatures) for name in signatures}
            )
        quantized = recipe.quantize(ranges, enable_progress_report=False)
    written = write_model(read_model(bytes(quantized.quantized_model)))
    if kind != "float16":
        check_8_bits(weight_shares(written), kind)
    return written


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
