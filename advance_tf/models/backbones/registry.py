"""Backbones by name, such as `resnet`, `yamnet`, `keras:<Name>` and `file:<path>`."""

import dataclasses
import functools
import pathlib
import shutil
from collections.abc import Mapping
from typing import Any

import keras

from advance_tf.checksums import record_folder, verify_folder
from advance_tf.config import (
    RANDOM_WEIGHTS,
    WHOLE_TOWER,
    FeatureConfig,
    ModelConfig,
)
from advance_tf.files import unique_number
from advance_tf.models.backbones.contract import (
    TOWERS,
    Backbone,
    FrozenTower,
    WeightsSource,
)
from advance_tf.models.backbones.efficientnet_lite import EfficientNetLite0
from advance_tf.models.backbones.file_tower import FileTower
from advance_tf.models.backbones.keras_applications import KerasApplication
from advance_tf.models.backbones.keras_hub_presets import KerasHubPreset
from advance_tf.models.backbones.resnet_towers import ResNetTowers
from advance_tf.models.backbones.yamnet import YamnetTower

FAMILIES: Mapping[str, type[Backbone]] = {
    "resnet": ResNetTowers,
    "efficientnet_lite0": EfficientNetLite0,
    "yamnet": YamnetTower,
    "keras": KerasApplication,
    "kerashub": KerasHubPreset,
    "file": FileTower,
}


def find_backbone(name: str) -> Backbone:
    """Finds a backbone by its name.

    Args:
        name: `<family>` or `<family>:<variant>`, such as "yamnet:scores" or
            "keras:ConvNeXtTiny".

    Returns:
        The backbone.

    Raises:
        ValueError: the family or its variant is unknown.

    >>> find_backbone("resnet").towers
    ('image', 'audio')
    """
    family = name.partition(":")[0]
    if family not in FAMILIES:
        raise ValueError(
            f"image_backbone and `audio_backbone` must be one of "
            f"{', '.join(FAMILIES)}, or one of their variants; received {name!r}. "
            "Choose one of these."
        )
    return FAMILIES[family](name)


def absolute_name(name: str) -> str:
    """The name of a backbone, with the absolute path where it has a path.

    >>> absolute_name("yamnet:both")
    'yamnet:both'
    """
    return find_backbone(name).absolute_name()


def named_weights() -> set[str]:
    """The values of `image_weights` and `audio_weights` that are not files.

    >>> sorted(named_weights())
    ['imagenet', 'package', 'preset', 'random']
    """
    names = {name for family in FAMILIES.values() for name in family.named_weights}
    return {*names, RANDOM_WEIGHTS}


def tower_backbone(tower: str, model: ModelConfig) -> Backbone:
    """The backbone of a tower of a configuration.

    Args:
        tower: "image" or "audio".
        model: `image_backbone` or `audio_backbone` is used.

    Returns:
        The backbone.

    Raises:
        ValueError: it is unknown, or cannot be this tower.
    """
    backbone = find_backbone(getattr(model, f"{tower}_backbone"))
    if tower not in backbone.towers:
        raise ValueError(
            f"{tower}_backbone must be a network for this input; received "
            f"{backbone.name!r}, a network for {' and '.join(backbone.towers)}. Choose "
            "another backbone."
        )
    return backbone


def build_tower(tower: str, model: ModelConfig, features: FeatureConfig) -> keras.Model:
    """Builds the tower of a configuration, with random weights.

    Args:
        tower: "image" or "audio".
        model: backbone, depths, widths and the number of frozen stages are used.
        features: sizes of the inputs.

    Returns:
        The model `image_tower` or `audio_tower`, see `Backbone`; a `FrozenTower` when
        the whole tower of a backbone without stages is frozen.

    Raises:
        ValueError: the backbone is unknown, or the settings do not fit it.
    """
    backbone = tower_backbone(tower, model)
    built = backbone.build(tower, model, features)
    is_frozen = getattr(model, f"{tower}_frozen_stages") == WHOLE_TOWER
    if is_frozen and not backbone.has_stages:
        return FrozenTower(built.input, built.output, name=built.name)
    return built


def sound_input(model: ModelConfig) -> str:
    """The name of the recognizer's input of sounds, "log_mel" or "waveform".

    >>> sound_input(ModelConfig()), sound_input(ModelConfig(audio_backbone="yamnet"))
    ('log_mel', 'waveform')
    """
    return tower_backbone("audio", model).sound_input


def weights_sources(model: ModelConfig) -> dict[str, WeightsSource]:
    """Describes the initial weights of both towers.

    Args:
        model: backbones and weights are used.

    Returns:
        "image" and "audio" → origin and hash of the weights.

    Raises:
        ValueError: weights are neither named ones of the backbone nor a file.
    """
    return {
        tower: tower_backbone(tower, model).weights_source(
            initial_weights(tower, model)
        )
        for tower in TOWERS
    }


def file_hashes(model: ModelConfig) -> dict[str, str]:
    """Hashes the files that the towers start from.

    Args:
        model: backbones and weights are used.

    Returns:
        "image" and "audio" → SHA-256, as in `weights_sources`; without a tower that
        starts from random or named weights, or whose file does not exist.

    >>> file_hashes(ModelConfig(image_weights="nowhere.npz"))
    {}
    """
    found = {}
    for tower in TOWERS:
        backbone, weights = tower_backbone(tower, model), initial_weights(tower, model)
        path = pathlib.Path(weights)
        if isinstance(backbone, FileTower):
            path = backbone.path
        if weights and weights not in backbone.named_weights and path.exists():
            found[tower] = _file_hash(backbone.name, weights, _file_state(path))
    return found


def _file_state(path: pathlib.Path) -> tuple[tuple[str, int, int], ...]:
    """What differs between a file or a folder and one that replaces it."""
    files = sorted(path.rglob("*")) if path.is_dir() else [path]
    states = [(str(file), file.stat()) for file in files]
    return tuple((name, state.st_mtime_ns, state.st_size) for name, state in states)


@functools.lru_cache(maxsize=32)
def _file_hash(name: str, weights: str, state: tuple[tuple[str, int, int], ...]) -> str:
    """The hash of weights; once for a state of the file, as a study has many runs."""
    del state
    return find_backbone(name).weights_source(weights).sha256


def initial_weights(tower: str, model: ModelConfig) -> str:
    """The weights that a tower starts from, those of its backbone by default.

    Args:
        tower: "image" or "audio".
        model: backbones and weights are used.

    Returns:
        A file or a name of weights; "" for random weights.

    >>> initial_weights("image", ModelConfig(image_weights="tower.npz"))
    'tower.npz'
    """
    given: str = getattr(model, f"{tower}_weights")
    if given == RANDOM_WEIGHTS:
        return ""
    return given or tower_backbone(tower, model).default_weights


def check_backbones(model: ModelConfig, features: FeatureConfig) -> None:
    """Checks the backbones of a run before anything is written.

    Args:
        model: settings of the towers.
        features: sizes of the inputs.

    Raises:
        ValueError: a backbone is unknown, or its network does not fit the settings.
        ImportError: the package of a backbone is not installed.
    """
    check_weights(model)
    for tower in TOWERS:
        tower_backbone(tower, model).check(tower, model, features)


def check_weights(model: ModelConfig) -> None:
    """Checks that the towers can start from their weights; builds nothing.

    Args:
        model: backbones and weights are used.

    Raises:
        ValueError: a backbone is unknown, or cannot start from its weights.
    """
    for tower in TOWERS:
        tower_backbone(tower, model).check_weights(tower, model)


def _tower_folder(workdir: pathlib.Path, tower: str) -> pathlib.Path:
    return workdir / f"{tower}_backbone"


def store_backbones(model: ModelConfig, workdir: pathlib.Path) -> None:
    """Copies to a run what its towers are built from beside the library and weights.

    A copy is complete or absent, and has checksums; an earlier one is replaced, or
    removed where the backbones need none.

    Args:
        model: backbones are used.
        workdir: folder of the run.
    """
    for tower in TOWERS:
        folder = _tower_folder(workdir, tower)
        copy = folder.with_name(f"{folder.name}-{unique_number()}-partial")
        tower_backbone(tower, model).store(copy)
        if copy.exists():
            record_folder(copy)
        if folder.exists():
            shutil.rmtree(folder)
        if copy.exists():
            copy.rename(folder)


def stored_backbones(model: ModelConfig, workdir: pathlib.Path) -> ModelConfig:
    """The settings of a run with its own copies of what the towers are built from.

    Args:
        model: settings of the run.
        workdir: folder of the run.

    Returns:
        The same settings where `store_backbones` copied nothing.

    Raises:
        ValueError: a copy is damaged.
    """
    names: dict[str, Any] = {}
    for tower in TOWERS:
        folder = _tower_folder(workdir, tower)
        if folder.exists():
            verify_folder(folder)
            stored = tower_backbone(tower, model).stored_name(folder)
            names[f"{tower}_backbone"] = stored
    return dataclasses.replace(model, **names) if names else model


def export_problems(model: ModelConfig) -> dict[str, str]:
    """The formats that a recognizer with these towers cannot be written in.

    Args:
        model: backbones are used.

    Returns:
        "SavedModel", "LiteRT" or "ONNX" → the reason; empty where all are possible.

    >>> export_problems(ModelConfig())
    {}
    """
    problems: dict[str, str] = {}
    for tower in TOWERS:
        backbone = tower_backbone(tower, model)
        for kind, reason in backbone.no_export.items():
            problems[kind] = f"{backbone.name}: {reason}"
    return problems


def build_backbone(
    name: str,
    tower: str = "",
    features: FeatureConfig | None = None,
    weights: str = "",
) -> keras.Model:
    """Builds a tower by the name of its backbone, with its weights.

    Args:
        name: name of the backbone.
        tower: "image" or "audio"; "" for the first that the backbone can be.
        features: sizes of the inputs; the defaults when None.
        weights: named weights of the backbone or a file of its own format; "" for
            those of the preset or file that the backbone names, for others random
            ones. `load_tower` loads a `.npz` file.

    Returns:
        The model of inputs → embedding [B, D].

    Raises:
        ValueError: the name or the weights are unknown.

    >>> features = FeatureConfig(image_size=64)
    >>> tower = build_backbone("efficientnet_lite0", features=features)
    >>> tower.output_shape, tower.get_layer("features").output.shape
    ((None, 1280), (None, 2, 2, 1280))
    """
    backbone = find_backbone(name)
    tower = tower or backbone.towers[0]
    settings = {f"{tower}_backbone": name, f"{tower}_weights": weights}
    model = ModelConfig(**settings)  # type: ignore[arg-type]
    built = build_tower(tower, model, features or FeatureConfig())
    weights = initial_weights(tower, model)
    if pathlib.Path(weights).suffix == ".npz":
        raise ValueError(
            "weights must be named ones or a file of the backbone's own format; "
            f"received {weights!r}. Build the tower without them and call `load_tower`."
        )
    if weights:
        backbone.load_weights(built, weights)
    return built
