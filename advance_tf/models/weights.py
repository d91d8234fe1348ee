"""Tower weights as files: arrays by layer and a description, no code."""

import dataclasses
import hashlib
import json
import pathlib
import zipfile
from collections.abc import Mapping

import keras
import numpy as np

from advance_tf.config import FeatureConfig, ModelConfig
from advance_tf.files import replacing
from advance_tf.models.recognizer import build_audio_tagger

METADATA = "metadata"
HEADS = {"image": "image_class_head", "audio": "audio_event_head"}


@dataclasses.dataclass(frozen=True)
class TowerMetadata:
    """What a file of tower weights holds.

    Attributes:
        tower: "image" or "audio".
        depth: of the ResNet.
        width: channels of its first stage.
        outputs: of the head in the file; 0 without a head.
        source: where the weights come from, in words.
        log_mel_stats: statistics that an audio tower heard with.
    """

    tower: str
    depth: int
    width: int
    outputs: int = 0
    source: str = ""
    log_mel_stats: str = "authors"


def layer_arrays(model: keras.Model, prefix: str = "") -> dict[str, keras.Variable]:
    """The variables of a model's own layers by `<layer>/<variable>`.

    Args:
        model: of layers without sub-layers.
        prefix: before every name.

    Returns:
        Name → variable, batch-norm statistics among them.
    """
    return {
        f"{prefix}{layer.name}/{variable.name}": variable
        for layer in model.layers
        for variable in layer.weights
    }


def file_sha256(path: str | pathlib.Path) -> str:
    """The SHA-256 of a file as 64 hexadecimal digits."""
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def save_arrays(
    path: str | pathlib.Path, arrays: Mapping[str, np.ndarray], metadata: TowerMetadata
) -> None:
    """Writes arrays with their description, or leaves the old file.

    Args:
        path: of the `.npz` file.
        arrays: name → array; a head's names begin with "head/".
        metadata: stored as JSON.
    """
    path = pathlib.Path(path)
    if path.suffix != ".npz":
        raise ValueError(f"Tower weights must be written to .npz; received {path}.")
    text = json.dumps(dataclasses.asdict(metadata))
    with replacing(path) as temporary:
        np.savez(temporary, **{METADATA: np.array(text), **arrays})  # type: ignore[arg-type]


def save_tower(
    path: str | pathlib.Path,
    tower: keras.Model,
    metadata: TowerMetadata,
    head: keras.layers.Dense | None = None,
) -> None:
    """Writes a tower, and its head if there is one.

    Args:
        path: of the `.npz` file.
        tower: image or audio tower.
        metadata: its description; `outputs` is set from the head.
        head: dense layer to classes or events.
    """
    named = layer_arrays(tower)
    if head is not None:
        named |= {"head/kernel": head.kernel, "head/bias": head.bias}
        metadata = dataclasses.replace(metadata, outputs=head.units)
    arrays = {
        name: keras.ops.convert_to_numpy(variable) for name, variable in named.items()
    }
    save_arrays(path, arrays, metadata)


def without_head(
    arrays: Mapping[str, np.ndarray], metadata: TowerMetadata
) -> tuple[dict[str, np.ndarray], TowerMetadata]:
    """The arrays of a tower alone, with a description that says so."""
    body = {name: a for name, a in arrays.items() if not name.startswith("head/")}
    return body, dataclasses.replace(metadata, outputs=0)


def read_weights(
    path: str | pathlib.Path,
) -> tuple[dict[str, np.ndarray], TowerMetadata]:
    """The arrays and the description in a file.

    Args:
        path: of a file that `save_arrays` wrote.

    Returns:
        Name → array, and the description.

    Raises:
        ValueError: the file is missing, broken, or no file of tower weights.
    """
    try:
        with np.load(path, allow_pickle=False) as stored:
            arrays = {name: stored[name] for name in stored.files}
        metadata = TowerMetadata(**json.loads(str(arrays.pop(METADATA))))
    except FileNotFoundError as error:
        raise ValueError(f"The weights file {path} must exist; it does not.") from error
    except (zipfile.BadZipFile, KeyError, TypeError, ValueError, EOFError) as error:
        raise ValueError(
            f"{path} must be a file of tower weights; reading it failed: {error}. "
            "Make one with `python -m advance_tf.convert` or `python -m "
            "advance_tf.pretrain`."
        ) from error
    return arrays, metadata


def _check_metadata(path, metadata: TowerMetadata, wanted: TowerMetadata) -> None:
    if metadata.tower != wanted.tower:
        raise ValueError(
            f"--{wanted.tower}_weights must be those of an {wanted.tower} tower; "
            f"{path} holds an {metadata.tower} tower. Give it as "
            f"--{metadata.tower}_weights."
        )
    received = (metadata.depth, metadata.width)
    if received != (wanted.depth, wanted.width):
        raise ValueError(
            f"{path} holds a tower of depth {received[0]} and width {received[1]}; the "
            f"model has depth {wanted.depth} and width {wanted.width}. Give "
            f"--{wanted.tower}_depth={received[0]} and "
            f"--{wanted.tower}_width={received[1]}."
        )


def assign_arrays(
    path, variables: Mapping[str, keras.Variable], arrays: Mapping[str, np.ndarray]
) -> None:
    """Sets every variable from the array of its name.

    Args:
        path: of the file, for the error.
        variables: name → variable.
        arrays: name → array.

    Raises:
        ValueError: a name is missing or too many, or a shape differs; nothing
            is set then.
    """
    missing = sorted(set(variables) - set(arrays))
    extra = sorted(set(arrays) - set(variables))
    shapes = [
        f"{name} is {arrays[name].shape}, wanted {tuple(variables[name].shape)}"
        for name in sorted(set(variables) & set(arrays))
        if arrays[name].shape != tuple(variables[name].shape)
    ]
    if missing or extra or shapes:
        raise ValueError(
            f"{path} must hold exactly the weights of this model; missing: "
            f"{', '.join(missing[:5]) or 'none'}; too many: "
            f"{', '.join(extra[:5]) or 'none'}; other shape: "
            f"{'; '.join(shapes[:5]) or 'none'}. Convert or pretrain it again."
        )
    for name, variable in variables.items():
        variable.assign(arrays[name])


def load_tower(
    path: str | pathlib.Path, tower: keras.Model, wanted: TowerMetadata
) -> TowerMetadata:
    """Sets the weights of a tower from a file; a head in it is left out.

    Args:
        path: of the `.npz` file.
        tower: to set.
        wanted: tower, depth and width of the model.

    Returns:
        The file's description.

    Raises:
        ValueError: the file is of another tower, depth or width, or broken.
    """
    arrays, metadata = read_weights(path)
    _check_metadata(path, metadata, wanted)
    body, _ = without_head(arrays, metadata)
    assign_arrays(path, layer_arrays(tower), body)
    return metadata


def load_pretrained(recognizer: keras.Model, model: ModelConfig) -> None:
    """Starts the towers of a recognizer from the files of a configuration.

    Args:
        recognizer: of `build_recognizer`.
        model: image_weights and audio_weights are read; "" leaves a tower as it
            was initialised.

    Raises:
        ValueError: a file does not fit its tower.
    """
    if model.image_weights:
        wanted = TowerMetadata("image", model.image_depth, model.image_width)
        load_tower(model.image_weights, recognizer.get_layer("image_tower"), wanted)
    if model.audio_weights:
        wanted = TowerMetadata("audio", model.audio_depth, model.audio_width)
        load_tower(model.audio_weights, recognizer.get_layer("audio_tower"), wanted)


def load_audio_tagger(path: str | pathlib.Path, features: FeatureConfig) -> keras.Model:
    """The audio tagger whose tower and event head are in a file.

    Args:
        path: of an audio tower with its event head.
        features: sizes of the input.

    Returns:
        A model {"log_mel"} → {"event_logits"}, built as the file describes.

    Raises:
        ValueError: the file is of an image tower, or has no event head.
    """
    arrays, metadata = read_weights(path)
    config = ModelConfig(audio_depth=metadata.depth, audio_width=metadata.width)
    wanted = TowerMetadata("audio", metadata.depth, metadata.width)
    _check_metadata(path, metadata, wanted)
    tagger = build_audio_tagger(config, features)
    head = tagger.get_layer(HEADS["audio"])
    if metadata.outputs != head.units:
        raise ValueError(
            f"A teacher must have a head of {head.units} events; {path} has "
            f"{metadata.outputs}. Convert or pretrain the audio tower with its head."
        )
    variables = layer_arrays(tagger.get_layer("audio_tower"))
    variables |= {"head/kernel": head.kernel, "head/bias": head.bias}
    assign_arrays(path, variables, arrays)
    return tagger
