"""Converts PyTorch checkpoints to weights of our towers, or to a whole recognizer.

    python -m advance_tf.convert --checkpoint=AID_visual_pretrain.pt --output=image.npz
    python -m advance_tf.convert --checkpoint=audioset_audio_pretrain.pt \\
        --output=audio.npz
    python -m advance_tf.convert --checkpoint=resnet101.safetensors \\
        --inputs=imagenet --output=imagenet.npz
    python -m advance_tf.convert --checkpoint=fusion.pt --workdir=runs/authors \\
        --data_dir=ADVANCE

Any ResNet v1 of depth 18 to 152 with the usual key names; the first convolution
tells whether it sees (3 channels) or hears (1 channel). No code in a checkpoint
runs. .pt and .pth need PyTorch (pip install 'advance_tf[convert]'), .safetensors
do not. Output: --image_weights or --audio_weights of fit, --teacher of teach; or,
of image_net, audio_net, fusion_fc and KD_fc together, the folder of a run.
"""

import pathlib

from absl import flags

from advance_tf import config_flags, program

_CHECKPOINT = flags.DEFINE_string("checkpoint", None, "PyTorch or safetensors file.")
_OUTPUT = flags.DEFINE_string("output", None, "Tower weights to write (.npz).")
_WORKDIR = flags.DEFINE_string("workdir", None, "Folder for a whole recognizer.")
_HEAD = flags.DEFINE_bool("head", True, "Keep a tower's classifier; teachers need it.")
_INPUTS = flags.DEFINE_enum(
    "inputs",
    "levels",
    ("levels", "imagenet"),
    "What an image tower was trained on: levels 0..255 (the authors) or torchvision's "
    "normalization, which is built into its first layers.",
)
_SCENE_ORDER = flags.DEFINE_enum(
    "scene_order", "authors", ("authors", "name"), "Of the outputs of fusion_fc."
)
config_flags.define("data")


def _write_tower(arrays, checkpoint: str) -> None:
    from advance_tf.models import conversion, weights

    if not _OUTPUT.value or _WORKDIR.value:
        raise ValueError(
            f"{checkpoint} holds one tower; give --output=….npz and no --workdir."
        )
    made, metadata = conversion.convert_tower(
        arrays, pathlib.Path(checkpoint).name, inputs=_INPUTS.value
    )
    if not _HEAD.value:
        made, metadata = weights.without_head(made, metadata)
    weights.save_arrays(_OUTPUT.value, made, metadata)
    name = metadata.tower
    print(
        f"{name} tower, ResNet-{metadata.depth}, width {metadata.width}, "
        f"{metadata.outputs or 'no'} outputs: {_OUTPUT.value}\n"
        f"Next: python -m advance_tf.fit --{name}_weights={_OUTPUT.value} "
        f"--{name}_depth={metadata.depth} --{name}_width={metadata.width} …"
    )


def _write_recognizer(arrays, checkpoint: str) -> None:
    from advance_tf.models.fusion import convert_fusion
    from advance_tf.training.converted import write_run

    if not _WORKDIR.value or _OUTPUT.value:
        raise ValueError(
            f"{checkpoint} holds a whole recognizer; give --workdir and no --output."
        )
    converted = convert_fusion(arrays, checkpoint, scene_order=_SCENE_ORDER.value)
    write_run(converted, pathlib.Path(_WORKDIR.value), config_flags.read().data)
    print(
        f"A recognizer of {checkpoint} lies in {_WORKDIR.value}.\n"
        f"Next: python -m advance_tf.predict --workdir={_WORKDIR.value} --image=…"
    )


def main(arguments) -> None:
    """Converts --checkpoint."""
    del arguments
    if not _CHECKPOINT.value:
        raise ValueError("--checkpoint must name a file; received none.")

    from advance_tf.models.checkpoint_files import read_checkpoint
    from advance_tf.models.fusion import is_fusion

    arrays = read_checkpoint(_CHECKPOINT.value)
    write = _write_recognizer if is_fusion(arrays) else _write_tower
    write(arrays, _CHECKPOINT.value)


def console() -> None:
    """Entry point of the installed command."""
    program.run(main)


if __name__ == "__main__":
    console()
