"""Tower weights as `.npz` files: named arrays and metadata, without code."""

import dataclasses
import json
import pathlib
import warnings
from collections.abc import Iterable, Mapping

import keras
import numpy as np

from advance_tf.config import WHOLE_TOWER, FeatureConfig, ModelConfig
from advance_tf.features.log_mel import load_stats
from advance_tf.files import reading, replacing
from advance_tf.models.backbones.contract import TOWERS, arrays_sha256
from advance_tf.models.backbones.registry import initial_weights, tower_backbone
from advance_tf.models.recognizer import build_audio_tagger

METADATA = "metadata"
HEADS = {"image": "image_class_head", "audio": "audio_event_head"}


@dataclasses.dataclass(frozen=True)
class TowerMetadata:
    """Metadata of a file of tower weights.

    Attributes:
        tower: "image" or "audio".
        depth: depth of the ResNet.
        width: number of channels of its first stage.
        outputs: number of outputs of the head in the file; 0 without a head.
        source: origin of the weights, free text.
        log_mel_stats: log-mel statistics that an audio tower was trained with.
        log_mel_stats_sha256: hash of their values, "" where it is not known.
        backbone: name of the network; depth and width describe a resnet.
    """

    tower: str
    depth: int
    width: int
    outputs: int = 0
    source: str = ""
    log_mel_stats: str = "authors"
    backbone: str = "resnet"
    log_mel_stats_sha256: str = ""


def layer_arrays(model: keras.Model, prefix: str = "") -> dict[str, keras.Variable]:
    """Returns the variables of a model's layers by name.

    Args:
        model: a tower, or another model.
        prefix: prefix of every name.

    Returns:
        `<prefix><layer>/<variable>` → variable, including batch-normalization
        statistics. The variables of a layer of layers have their number in it
        before their name.
    """
    found = {}
    for layer in model.layers:
        names = [variable.name for variable in layer.weights]
        if len(set(names)) < len(names):
            names = [f"{number}/{name}" for number, name in enumerate(names)]
        for name, variable in zip(names, layer.weights, strict=True):
            found[f"{prefix}{layer.name}/{name}"] = variable
    return found


def save_arrays(
    path: str | pathlib.Path, arrays: Mapping[str, np.ndarray], metadata: TowerMetadata
) -> None:
    """Writes arrays and metadata; a failure keeps the previous file.

    Args:
        path: path of the `.npz` file.
        arrays: name → array; the names of a head begin with "head/".
        metadata: stored as JSON.

    Raises:
        ValueError: the path does not end in `.npz`.
    """
    path = pathlib.Path(path)
    if path.suffix != ".npz":
        raise ValueError(
            f"Tower weights must be written to .npz; received {path}. Use "
            f"{path.with_suffix('.npz')}."
        )
    text = json.dumps(dataclasses.asdict(metadata))
    with replacing(path) as temporary:
        np.savez(temporary, **{METADATA: np.array(text), **arrays})  # type: ignore[arg-type]


def save_tower(
    path: str | pathlib.Path,
    tower: keras.Model,
    metadata: TowerMetadata,
    head: keras.layers.Dense | None = None,
) -> None:
    """Writes a tower, optionally with its head.

    Args:
        path: path of the `.npz` file.
        tower: image or audio tower.
        metadata: metadata of the tower; `outputs` is set from the head.
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
    """Removes the head of a tower.

    Args:
        arrays: name → array, in the format of `save_arrays`.
        metadata: metadata of the arrays.

    Returns:
        The arrays without those of the head, and the metadata with `outputs` 0.
    """
    body = {name: a for name, a in arrays.items() if not name.startswith("head/")}
    return body, dataclasses.replace(metadata, outputs=0)


def read_weights(
    path: str | pathlib.Path,
) -> tuple[dict[str, np.ndarray], TowerMetadata]:
    """Reads a file of tower weights.

    Args:
        path: path of a file written by `save_arrays`.

    Returns:
        Name → array, and the metadata.

    Raises:
        ValueError: the file is missing, damaged, or not a file of tower weights.
    """
    if not pathlib.Path(path).exists():
        raise ValueError(
            f"The weights file {path} must exist; it does not. Check the path."
        )
    way_out = "Create one with `advance convert` or `advance pretrain`."
    with reading(path, "be a file of tower weights", way_out):
        with np.load(path, allow_pickle=False) as stored:
            arrays = {name: stored[name] for name in stored.files}
        metadata = TowerMetadata(**json.loads(str(arrays.pop(METADATA))))
        if not all(isinstance(array, np.ndarray) for array in arrays.values()):
            raise ValueError("a member is no array")
    return arrays, metadata


def _check_metadata(
    path: str | pathlib.Path, metadata: TowerMetadata, expected: TowerMetadata
) -> None:
    """Checks tower, backbone, depth and width of a file."""
    if metadata.tower != expected.tower:
        raise ValueError(
            f"{expected.tower}_weights must be those of an {expected.tower} tower; "
            f"{path} contains an {metadata.tower} tower. Pass it as "
            f"`{metadata.tower}_weights`."
        )
    if metadata.backbone != expected.backbone:
        raise ValueError(
            f"{path} must contain a tower of the backbone {expected.backbone}; "
            f"received {metadata.backbone}. Set `{expected.tower}_backbone` to it."
        )
    if metadata.backbone != "resnet":
        return
    received = (metadata.depth, metadata.width)
    if received != (expected.depth, expected.width):
        raise ValueError(
            f"{path} must contain a tower of depth {expected.depth} and width "
            f"{expected.width}; received depth {received[0]} and width {received[1]}. "
            f"Set `{expected.tower}_depth={received[0]}` and "
            f"`{expected.tower}_width={received[1]}`."
        )


def stats_sha256(features: FeatureConfig) -> str:
    """SHA-256 of the log-mel statistics of a configuration, not of their file.

    >>> stats_sha256(FeatureConfig())[:8]
    'c32d9969'
    """
    return arrays_sha256(load_stats(features))


def _check_stats(
    path: str | pathlib.Path, metadata: TowerMetadata, features: FeatureConfig
) -> None:
    """Checks that an audio tower that is not trained gets the inputs it learned from.

    A tower that is trained adapts to other statistics.
    """
    stored = metadata.log_mel_stats_sha256
    if stored and stored != stats_sha256(features):
        raise ValueError(
            "log_mel_stats must be those that the audio tower was pretrained with, "
            f"which {path} names {metadata.log_mel_stats!r}; received "
            f"{features.log_mel_stats!r}, whose values differ. Pass the statistics of "
            "the tower."
        )


def assign_arrays(
    path: str | pathlib.Path,
    variables: Mapping[str, keras.Variable],
    arrays: Mapping[str, np.ndarray],
) -> None:
    """Sets every variable from the array of the same name.

    Args:
        path: path of the file, for the error.
        variables: name → variable.
        arrays: name → array.

    Raises:
        ValueError: a name is missing or unexpected, or a shape differs; no
            variable is changed then.
    """
    missing = sorted(set(variables) - set(arrays))
    unexpected = sorted(set(arrays) - set(variables))
    shapes = [
        f"{name} is {arrays[name].shape}, must be {tuple(variables[name].shape)}"
        for name in sorted(set(variables) & set(arrays))
        if arrays[name].shape != tuple(variables[name].shape)
    ]
    if missing or unexpected or shapes:
        raise ValueError(
            f"{path} must contain exactly the weights of this model; missing: "
            f"{', '.join(missing[:5]) or 'none'}; unexpected: "
            f"{', '.join(unexpected[:5]) or 'none'}; other shape: "
            f"{'; '.join(shapes[:5]) or 'none'}. Convert or pretrain it again."
        )
    for name, variable in variables.items():
        variable.assign(arrays[name])


def load_tower(
    path: str | pathlib.Path, tower: keras.Model, expected: TowerMetadata
) -> TowerMetadata:
    """Sets the weights of a tower from a file; a head in the file is ignored.

    Args:
        path: path of the `.npz` file.
        tower: the tower; changed in place.
        expected: tower, depth and width of the model.

    Returns:
        The metadata of the file.

    Raises:
        ValueError: the file contains another tower, depth or width, or is damaged.
    """
    arrays, metadata = read_weights(path)
    _check_metadata(path, metadata, expected)
    body, _ = without_head(arrays, metadata)
    assign_arrays(path, layer_arrays(tower), body)
    return metadata


def load_pretrained(
    recognizer: keras.Model,
    model: ModelConfig,
    features: FeatureConfig | None = None,
    towers: Iterable[str] = TOWERS,
) -> None:
    """Loads the initial weights of the towers of a recognizer.

    Args:
        recognizer: a model of `build_recognizer`, or another one with these towers;
            changed in place.
        model: backbones, `image_weights` and `audio_weights` are used; "" stands for
            the default of the backbone, see `initial_weights`.
        features: log-mel statistics of the inputs, to compare with those of a frozen
            audio tower; None for no comparison.
        towers: "image", "audio" or both.

    Raises:
        ValueError: a file does not fit its tower, or a frozen audio tower was
            pretrained with other log-mel statistics.
        ImportError: the package of named weights is not installed.
    """
    for name in towers:
        weights = initial_weights(name, model)
        if not weights:
            continue
        backbone = tower_backbone(name, model)
        tower = recognizer.get_layer(f"{name}_tower")
        if backbone.has_stages or pathlib.Path(weights).suffix == ".npz":
            metadata = load_tower(weights, tower, tower_metadata(name, model))
            is_frozen = getattr(model, f"{name}_frozen_stages") == WHOLE_TOWER
            if name == "audio" and is_frozen and features is not None:
                _check_stats(weights, metadata, features)
        else:
            backbone.load_weights(tower, weights)


def tower_metadata(tower: str, model: ModelConfig) -> TowerMetadata:
    """The metadata of the tower of a configuration.

    >>> tower_metadata("audio", ModelConfig()).depth
    50

    Args:
        tower: "image" or "audio".
        model: backbone, depth and width are used.

    Returns:
        The metadata, without source.
    """
    backbone, depth, width = (
        getattr(model, f"{tower}_{name}") for name in ("backbone", "depth", "width")
    )
    return TowerMetadata(tower, depth, width, backbone=backbone)


def load_audio_tagger(path: str | pathlib.Path, features: FeatureConfig) -> keras.Model:
    """Loads an audio tower with its event head.

    Args:
        path: path of a `.npz` file of an audio tower with its event head.
        features: sizes of the input and log-mel statistics.

    Returns:
        A model of `build_audio_tagger` with the backbone, depth and width of the
        file.

    Raises:
        ValueError: the file contains an image tower, or no event head, or the tower
            was pretrained with other log-mel statistics.
    """
    arrays, metadata = read_weights(path)
    expected = dataclasses.replace(metadata, tower="audio")
    _check_metadata(path, metadata, expected)
    _check_stats(path, metadata, features)
    config = ModelConfig(
        audio_depth=metadata.depth,
        audio_width=metadata.width,
        audio_backbone=metadata.backbone,
    )
    tagger = build_audio_tagger(config, features)
    head = tagger.get_layer(HEADS["audio"])
    if metadata.outputs != head.units:
        raise ValueError(
            f"A teacher must have a head of {head.units} events; {path} has one of "
            f"{metadata.outputs}. Convert or pretrain the audio tower with its head."
        )
    variables = layer_arrays(tagger.get_layer("audio_tower"))
    variables |= {"head/kernel": head.kernel, "head/bias": head.bias}
    assign_arrays(path, variables, arrays)
    return tagger


def load_keras_weights(model: keras.Model, path: str | pathlib.Path) -> None:
    """Loads a weights file of Keras, all layers of it.

    A warning of Keras about a layer that cannot be loaded is an error.

    Args:
        model: model to assign the weights to.
        path: a `.weights.h5` file.

    Raises:
        ValueError: the file is damaged, or of another model.
        OSError: the file cannot be read.
    """
    with warnings.catch_warnings():
        warnings.filterwarnings("error", message=".*not be loaded")
        try:
            model.load_weights(path)
        except Warning as warning:
            raise ValueError(str(warning).split(". ")[0]) from warning
