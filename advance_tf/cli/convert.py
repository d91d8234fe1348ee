r"""Converts PyTorch checkpoints to tower weights or to a recognizer.

    advance convert --checkpoint=AID_visual_pretrain.pt --output=image.npz
    advance convert --checkpoint=audioset_audio_pretrain.pt --output=audio.npz
    advance convert --checkpoint=resnet101.safetensors --inputs=imagenet \
        --output=imagenet.npz
    advance convert --checkpoint=fusion.pt --workdir=runs/authors --data_dir=ADVANCE

Reads any ResNet v1 of depth 10 to 152 with the usual key names; the input channels of
the first convolution distinguish an image tower (3) from an audio tower (1). No code
in a checkpoint is executed. .pt and .pth files need PyTorch (pip install
'advance_tf[convert]'), .safetensors files do not. The output is for --image_weights or
--audio_weights of `advance fit` and for --teacher of `advance teach`. A checkpoint
with image_net, audio_net, fusion_fc and KD_fc is written as the folder of a run.
"""

import pathlib
from typing import Any

from absl import flags
from absl.flags import FlagValues

from advance_tf.cli import startup
from advance_tf.cli.flags import (
    define_config,
    define_workdir,
    given_config,
    read_config,
    refuse,
    require,
)
from advance_tf.files import check_output


def define(values: FlagValues) -> None:
    """Defines the flags of the command."""
    flags.DEFINE_string(
        "checkpoint", None, "PyTorch or safetensors file.", flag_values=values
    )
    flags.DEFINE_string(
        "output", None, "Tower weights to write (.npz).", flag_values=values
    )
    define_workdir(values, "Folder of the run to write, for a recognizer.")
    flags.DEFINE_bool(
        "head",
        True,
        "Keep the classifier of a tower; a teacher needs it.",
        flag_values=values,
    )
    flags.DEFINE_enum(
        "inputs",
        "levels",
        ("levels", "imagenet"),
        "Inputs that an image tower was trained on: levels 0 to 255 (the authors) or "
        "torchvision's normalization, which is folded into its first layers.",
        flag_values=values,
    )
    flags.DEFINE_enum(
        "scene_order",
        "authors",
        ("authors", "name"),
        "Order of the outputs of fusion_fc.",
        flag_values=values,
    )
    flags.DEFINE_enum(
        "single_input",
        "image",
        ("image", "sound"),
        "Input of a recognizer with one input (FusionNet_uni).",
        flag_values=values,
    )
    define_config(values, "data")


def run(values: FlagValues) -> None:
    """Converts --checkpoint."""
    require(values, checkpoint="a file")
    if values.output:
        check_output(pathlib.Path(values.output))
    startup.load_tensorflow()

    from advance_tf.models.checkpoint_files import read_checkpoint
    from advance_tf.models.conversion import is_fusion

    arrays = read_checkpoint(values.checkpoint)
    write = _write_recognizer if is_fusion(arrays) else _write_tower
    write(arrays, values)


def _write_tower(arrays: Any, values: FlagValues) -> None:
    from advance_tf.models import conversion, weights

    checkpoint, output = values.checkpoint, values.output
    if not output or values.workdir:
        raise ValueError(
            f"{checkpoint} holds one tower; give --output=….npz without --workdir."
        )
    recognizer = ("scene_order", "single_input", *given_config(values))
    refuse(values, recognizer, f"is for a recognizer; {checkpoint} holds one tower")
    converted, metadata = conversion.convert_tower(
        arrays, pathlib.Path(checkpoint).name, inputs=values.inputs
    )
    if not values.head:
        converted, metadata = weights.without_head(converted, metadata)
    weights.save_arrays(output, converted, metadata)
    name = metadata.tower
    print(
        f"{name} tower, ResNet-{metadata.depth}, width {metadata.width}, "
        f"{metadata.outputs or 'no'} outputs: {output}\n"
        f"Next: advance fit --{name}_weights={output} "
        f"--{name}_depth={metadata.depth} --{name}_width={metadata.width} …"
    )


def _write_recognizer(arrays: Any, values: FlagValues) -> None:
    from advance_tf.models.conversion import convert_fusion
    from advance_tf.runs.conversion import write_converted_run

    checkpoint, workdir = values.checkpoint, values.workdir
    if not workdir or values.output:
        raise ValueError(
            f"{checkpoint} holds a recognizer; give --workdir without --output."
        )
    refuse(
        values, ("head", "inputs"), f"is for a tower; {checkpoint} holds a recognizer"
    )
    converted = convert_fusion(
        arrays,
        checkpoint,
        scene_order=values.scene_order,
        single_input=values.single_input,
    )
    if converted.model.modality == "both":
        why = f"is for a recognizer of one input; that of {checkpoint} has two"
        refuse(values, ("single_input",), why)
    write_converted_run(
        converted, pathlib.Path(workdir), read_config(values).data, checkpoint
    )
    print(
        f"The recognizer of {checkpoint} is in {workdir}.\n"
        f"Next: advance predict --workdir={workdir} --image=…"
    )
