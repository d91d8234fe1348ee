"""The configuration of a run: frozen dataclasses, the one source of truth.

Every field carries its help text, unit and, where it has one, the equation of
the paper. The absl flags of the programs are generated from these fields
(`config_flags`), and `config.json` in a work directory is their strict JSON
image: an unknown, missing or mistyped key is refused by name.
"""

import dataclasses
import json
import math
import types
from collections.abc import Mapping
from typing import Any, get_type_hints

TRANSFERS = (
    "none",
    "sq_audio",
    "kl_audio",
    "sq_audiovisual",
    "kl_audiovisual",
    "event",
)
DEPTHS = (18, 34, 50, 101, 152)


def _field(default, help, *, choices=None, minimum=None, maximum=None, above=None):
    """A dataclass field with what its flag and its check need to know."""
    metadata = {
        "help": help,
        "choices": choices,
        "minimum": minimum,
        "maximum": maximum,
        "above": above,
    }
    return dataclasses.field(default=default, metadata=types.MappingProxyType(metadata))


def _check_field(field, value):
    """Raises ValueError when `value` is outside what `field` allows."""
    limits = field.metadata
    if isinstance(value, float) and not math.isfinite(value):
        raise ValueError(f"--{field.name} must be finite; received {value}.")
    if limits["choices"] and value not in limits["choices"]:
        allowed = ", ".join(str(choice) for choice in limits["choices"])
        raise ValueError(
            f"--{field.name} must be one of {allowed}; received {value!r}."
        )
    values = value if isinstance(value, tuple) else (value,)
    for number in values:
        if limits["minimum"] is not None and number < limits["minimum"]:
            raise ValueError(
                f"--{field.name} must be at least {limits['minimum']}; "
                f"received {number}."
            )
        if limits["maximum"] is not None and number > limits["maximum"]:
            raise ValueError(
                f"--{field.name} must be at most {limits['maximum']}; "
                f"received {number}."
            )
        if limits["above"] is not None and number <= limits["above"]:
            raise ValueError(
                f"--{field.name} must be greater than {limits['above']}; "
                f"received {number}."
            )


@dataclasses.dataclass(frozen=True)
class _Checked:
    """Base of the groups: checks every field when an instance is made."""

    def __post_init__(self):
        for field in dataclasses.fields(self):
            _check_field(field, getattr(self, field.name))


@dataclasses.dataclass(frozen=True)
class DataConfig(_Checked):
    """Where the pairs are and how sites are shared out."""

    data_dir: str = _field(
        "", "Folder in ADVANCE's layout (vision/<scene>, sound/<scene>)."
    )
    split_protocol: str = _field(
        "site",
        "site: no place in two splits, as in the paper. pair: random by pair, "
        "leaky (places shared between training and test).",
        choices=("site", "pair"),
    )
    split_seed: int = _field(
        0, "Seed of the split; another than the seed of training.", minimum=0
    )
    train_fraction: float = _field(
        0.7, "Share of each scene's sites in training.", above=0.0, maximum=1.0
    )
    validation_fraction: float = _field(
        0.1, "Share of each scene's sites in validation.", minimum=0.0, maximum=1.0
    )
    allow_missing: bool = _field(
        False, "Skip and count unpaired or empty files instead of refusing them."
    )
    cache_dir: str = _field(
        "", "Folder for decoded pairs; empty: decode in every epoch."
    )

    def __post_init__(self):
        super().__post_init__()
        if self.train_fraction + self.validation_fraction > 1.0:
            raise ValueError(
                "--train_fraction and --validation_fraction may not exceed 1 "
                f"together; received {self.train_fraction} and "
                f"{self.validation_fraction}. Lower one of them."
            )


@dataclasses.dataclass(frozen=True)
class FeatureConfig(_Checked):
    """How a waveform becomes a log-mel spectrogram and bytes an image."""

    sample_rate_hz: int = _field(16_000, "Sampling rate in Hz.", minimum=8_000)
    clip_seconds: float = _field(10.0, "Length of a clip in seconds.", above=0.0)
    window_samples: int = _field(1024, "Hann window in samples.", minimum=2)
    hop_samples: int = _field(400, "Step between frames in samples.", minimum=1)
    fft_length: int = _field(4096, "Length of the Fourier transform.", minimum=2)
    mel_bins: int = _field(64, "Number of mel bands.", minimum=1)
    mel_min_hz: float = _field(0.0, "Lower edge of the mel bands in Hz.", minimum=0.0)
    mel_max_hz: float = _field(8000.0, "Upper edge of the mel bands in Hz.", above=0.0)
    magnitude_floor: float = _field(
        1e-10, "Smallest mel magnitude before the logarithm.", above=0.0
    )
    dynamic_range_db: float = _field(
        80.0, "Clip this many dB below the clip's own maximum.", above=0.0
    )
    log_mel_stats: str = _field(
        "authors",
        "Mean and deviation of each mel band in dB: 'authors' or a CSV file "
        "written by `python -m advance_tf.stats`.",
    )
    image_size: int = _field(256, "Side of the square image in pixels.", minimum=32)

    def __post_init__(self):
        super().__post_init__()
        if self.window_samples > self.fft_length:
            raise ValueError(
                "--window_samples may not exceed --fft_length; received "
                f"{self.window_samples} and {self.fft_length}."
            )
        if not self.mel_min_hz < self.mel_max_hz <= self.sample_rate_hz / 2:
            raise ValueError(
                "--mel_max_hz must lie above --mel_min_hz and at or below half "
                f"the sampling rate; received {self.mel_min_hz} to "
                f"{self.mel_max_hz} Hz at {self.sample_rate_hz} Hz."
            )
        if self.clip_samples < self.hop_samples:
            raise ValueError(
                "--clip_seconds must hold at least one frame; received "
                f"{self.clip_seconds} s with a hop of {self.hop_samples} samples."
            )

    @property
    def clip_samples(self) -> int:
        """Samples of one clip, 160,000 by default."""
        return round(self.clip_seconds * self.sample_rate_hz)

    @property
    def frames(self) -> int:
        """Frames of one clip, 400 by default."""
        return self.clip_samples // self.hop_samples


@dataclasses.dataclass(frozen=True)
class ModelConfig(_Checked):
    """The two towers and what they look at and listen to."""

    modality: str = _field(
        "both",
        "Inputs in use; the other one is zeros.",
        choices=("both", "image", "sound"),
    )
    image_depth: int = _field(101, "Depth of the image ResNet.", choices=DEPTHS)
    audio_depth: int = _field(50, "Depth of the audio ResNet.", choices=DEPTHS)
    image_width: int = _field(
        64, "Channels of the image tower's first stage.", minimum=1
    )
    audio_width: int = _field(
        64, "Channels of the audio tower's first stage.", minimum=1
    )
    dropout: float = _field(
        0.0, "Dropout on the embedding before the heads.", minimum=0.0, maximum=0.95
    )
    image_weights: str = _field("", "Weights file to start the image tower from.")
    audio_weights: str = _field("", "Weights file to start the audio tower from.")
    image_frozen_stages: int = _field(
        0,
        "Stages of the image tower that stay as loaded: 1 is the first "
        "convolution, 5 the whole tower.",
        minimum=0,
        maximum=5,
    )
    audio_frozen_stages: int = _field(
        0, "Stages of the audio tower that stay as loaded.", minimum=0, maximum=5
    )
    freeze_batch_norm: bool = _field(
        False, "Keep scales, shifts and statistics of the towers' batch norms."
    )


@dataclasses.dataclass(frozen=True)
class TransferConfig(_Checked):
    """The objective L = L_s + alpha L_Omega (Eq. 2)."""

    transfer: str = _field(
        "event",
        "L_Omega: none, sq_audio (Eq. 4), kl_audio (Eq. 3), sq_audiovisual "
        "(Eq. 6), kl_audiovisual (Eq. 5), event (Eq. 10).",
        choices=TRANSFERS,
    )
    alpha: float = _field(0.1, "Weight of the transfer loss (Eq. 2).", minimum=0.0)
    beta: float = _field(
        0.001, "Weight of L_E2 in L_E (Eq. 10); 0 gives L_E1.", minimum=0.0
    )
    scene_weight: float = _field(
        1.0, "Weight of L_s; 0 leaves the transfer loss alone (Table 3).", minimum=0.0
    )
    event_reduction: str = _field(
        "mean",
        "Over the events: mean (authors' code) or sum (Eq. 3, 5, 8).",
        choices=("mean", "sum"),
    )
    relevance: str = _field(
        "gram",
        "Event relevance d_k: gram (paper) or centered_pca (authors' code).",
        choices=("gram", "centered_pca"),
    )

    def __post_init__(self):
        super().__post_init__()
        if self.scene_weight == 0 and (self.transfer == "none" or self.alpha == 0):
            raise ValueError(
                "--scene_weight=0 needs a transfer loss with --alpha above 0; "
                f"received --transfer={self.transfer} --alpha={self.alpha}, which "
                "leaves nothing to minimize."
            )


@dataclasses.dataclass(frozen=True)
class TrainingConfig(_Checked):
    """Optimization, protocol and machine."""

    epochs: int = _field(100, "Epochs at most.", minimum=1)
    batch_size: int = _field(64, "Pairs in a global batch.", minimum=1)
    learning_rate: float = _field(1e-5, "Adam's learning rate.", above=0.0)
    weight_decay: float = _field(1e-4, "Weight decay.", minimum=0.0)
    weight_decay_mode: str = _field(
        "l2",
        "l2: added to the gradient (authors' code); decoupled: AdamW.",
        choices=("l2", "decoupled"),
    )
    drop_epochs: tuple[int, ...] = _field(
        (30, 60, 90), "Epochs after which the learning rate drops.", minimum=1
    )
    drop_factor: float = _field(0.1, "Factor of each drop.", above=0.0, maximum=1.0)
    patience: int = _field(
        0,
        "Stop after this many epochs without a better validation F; 0: never.",
        minimum=0,
    )
    seed: int = _field(
        0, "Seed of weights, order, augmentation and dropout.", minimum=0
    )
    precision: str = _field(
        "auto",
        "auto: mixed_bfloat16 or mixed_float16 on a GPU that has it, else float32.",
        choices=("auto", "float32", "mixed_float16", "mixed_bfloat16"),
    )
    strategy: str = _field(
        "auto",
        "auto: mirrored on several GPUs, else one.",
        choices=("auto", "one", "mirrored"),
    )


@dataclasses.dataclass(frozen=True)
class Config:
    """Everything a run needs to be run again."""

    data: DataConfig = dataclasses.field(default_factory=DataConfig)
    features: FeatureConfig = dataclasses.field(default_factory=FeatureConfig)
    model: ModelConfig = dataclasses.field(default_factory=ModelConfig)
    transfer: TransferConfig = dataclasses.field(default_factory=TransferConfig)
    training: TrainingConfig = dataclasses.field(default_factory=TrainingConfig)


def groups() -> dict[str, Any]:
    """The groups of `Config` by name, in order."""
    return {field.name: field.type for field in dataclasses.fields(Config)}


def to_dict(config: Config) -> dict[str, Any]:
    """The plain dictionary of `config`, tuples as lists."""
    return json.loads(json.dumps(dataclasses.asdict(config)))


def _check_keys(where, received: Mapping, expected):
    unknown = sorted(set(received) - set(expected))
    missing = sorted(set(expected) - set(received))
    if unknown or missing:
        raise ValueError(
            f"{where} must have exactly the keys {', '.join(expected)}; received "
            f"unknown: {', '.join(unknown) or 'none'}, missing: "
            f"{', '.join(missing) or 'none'}. Was it written by another version?"
        )


def _typed(name, value, expected):
    """`value` as `expected`, or ValueError; an int may stand for a float."""
    if expected == tuple[int, ...]:
        if isinstance(value, list) and all(type(item) is int for item in value):
            return tuple(value)
    elif expected is float and type(value) in (int, float):
        return float(value)
    elif type(value) is expected:
        return value
    raise ValueError(
        f"{name} must be of type {getattr(expected, '__name__', expected)}; "
        f"received {value!r}."
    )


def from_dict(values: Mapping[str, Any]) -> Config:
    """The configuration of a dictionary made by `to_dict`.

    Args:
        values: group name → field name → value.

    Returns:
        A checked `Config`.

    Raises:
        ValueError: a key is unknown or missing, or a value has the wrong type
            or lies outside what its field allows.
    """
    _check_keys("A configuration", values, groups())
    made = {}
    for name, group in groups().items():
        hints = get_type_hints(group)
        _check_keys(f"Group '{name}'", values[name], hints)
        made[name] = group(
            **{
                key: _typed(f"{name}.{key}", values[name][key], hint)
                for key, hint in hints.items()
            }
        )
    return Config(**made)
