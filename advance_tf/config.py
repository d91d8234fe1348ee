"""The configuration of a run as frozen dataclasses.

Every field has its description, its unit and, where there is one, the equation
of the paper. `cli.flags` derives the flags of the commands from these fields, and
`config_io` writes and reads them as the `config.json` of a work directory.

>>> config = Config(transfer=TransferConfig(transfer="event", alpha=0.3))
>>> config.transfer.alpha, config.features.frames
(0.3, 400)
"""

import dataclasses
import math
import operator
import types
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
MODALITIES = ("both", "image", "sound")
PROTOCOLS = ("site", "pair")
RELEVANCE_MODES = ("gram", "centered_pca")
# Smallest and largest sampling rate of a sound.
MIN_RATE_HZ, MAX_RATE_HZ = 8_000, 192_000


def _field(
    default: Any,
    help: str,
    *,
    choices: tuple[Any, ...] | None = None,
    minimum: float | None = None,
    maximum: float | None = None,
    above: float | None = None,
) -> Any:
    """A dataclass field with the help text and the limits of its value."""
    limits = {"choices": choices, "minimum": minimum, "maximum": maximum}
    metadata = types.MappingProxyType({"help": help, "above": above, **limits})
    return dataclasses.field(default=default, metadata=metadata)


def _check_field(field: dataclasses.Field[Any], value: Any) -> None:
    """Raises ValueError if `value` violates the limits of `field`."""
    limits = field.metadata
    if isinstance(value, float) and not math.isfinite(value):
        raise ValueError(f"{field.name} must be finite; received {value}.")
    if limits["choices"] and value not in limits["choices"]:
        allowed = ", ".join(str(choice) for choice in limits["choices"])
        raise ValueError(f"{field.name} must be one of {allowed}; received {value!r}.")
    for limit, words, breaks in (
        ("minimum", "at least", operator.lt),
        ("maximum", "at most", operator.gt),
        ("above", "greater than", operator.le),
    ):
        bound = limits[limit]
        for number in value if isinstance(value, tuple) else (value,):
            if bound is not None and breaks(number, bound):
                raise ValueError(
                    f"{field.name} must be {words} {bound}; received {number}."
                )


@dataclasses.dataclass(frozen=True)
class _Validated:
    """Base class of the groups: validates every field of a new instance."""

    def __post_init__(self) -> None:
        for field in dataclasses.fields(self):
            _check_field(field, getattr(self, field.name))


@dataclasses.dataclass(frozen=True)
class DataConfig(_Validated):
    """Location of the pairs and how they are split."""

    data_dir: str = _field(
        "", "Folder in ADVANCE's layout (vision/<scene>, sound/<scene>)."
    )
    split_protocol: str = _field(
        "site",
        "site: no site is in two splits, as in the paper. pair: random by pair, "
        "leaky (sites shared between training and test).",
        choices=PROTOCOLS,
    )
    split_seed: int = _field(
        0, "Seed of the split, independent of the seed of training.", minimum=0
    )
    train_fraction: float = _field(
        0.7, "Share of each scene's sites in training.", above=0.0, maximum=1.0
    )
    validation_fraction: float = _field(
        0.1, "Share of each scene's sites in validation.", minimum=0.0, maximum=1.0
    )
    allow_missing: bool = _field(
        False, "Skip and count unpaired or empty files; without it they are an error."
    )
    cache_dir: str = _field(
        "", "Folder for decoded pairs; empty: the files are decoded in every epoch."
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.train_fraction + self.validation_fraction > 1.0:
            raise ValueError(
                "train_fraction and `validation_fraction` may not exceed 1 in sum; "
                f"received {self.train_fraction} and {self.validation_fraction}. "
                "Lower one of them."
            )


@dataclasses.dataclass(frozen=True)
class FeatureConfig(_Validated):
    """Parameters of the log-mel spectrogram and of the image size."""

    sample_rate_hz: int = _field(16_000, "Sampling rate in Hz.", minimum=MIN_RATE_HZ)
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
        80.0,
        "Range in dB below the maximum of the clip; lower values are clipped.",
        above=0.0,
    )
    log_mel_stats: str = _field(
        "authors",
        "Mean and standard deviation of each mel band in dB: 'authors' or a CSV file "
        "written by `advance stats`.",
    )
    image_size: int = _field(256, "Side of the square image in pixels.", minimum=32)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.window_samples > self.fft_length:
            raise ValueError(
                "window_samples may not exceed `fft_length`; received "
                f"{self.window_samples} and {self.fft_length}. Raise `fft_length`."
            )
        if not self.mel_min_hz < self.mel_max_hz <= self.sample_rate_hz / 2:
            raise ValueError(
                "mel_max_hz must be greater than `mel_min_hz` and at most half "
                f"the sampling rate; received {self.mel_min_hz} to "
                f"{self.mel_max_hz} Hz at {self.sample_rate_hz} Hz. Change the band "
                "edges or `sample_rate_hz`."
            )
        if self.clip_samples < self.hop_samples:
            raise ValueError(
                "clip_seconds must be at least one hop; received "
                f"{self.clip_seconds} s with a hop of {self.hop_samples} samples. "
                "Raise `clip_seconds` or lower `hop_samples`."
            )

    @property
    def clip_samples(self) -> int:
        """Number of samples of one clip, 160,000 by default."""
        return round(self.clip_seconds * self.sample_rate_hz)

    @property
    def frames(self) -> int:
        """Number of frames of one clip, 400 by default."""
        return self.clip_samples // self.hop_samples


@dataclasses.dataclass(frozen=True)
class ModelConfig(_Validated):
    """The two towers: inputs, sizes and initial weights."""

    modality: str = _field(
        "both",
        "Inputs in use; an unused input is zeros.",
        choices=MODALITIES,
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
        0.0,
        "Dropout rate on the embedding before the heads.",
        minimum=0.0,
        maximum=0.95,
    )
    image_weights: str = _field("", "Weights file that initializes the image tower.")
    audio_weights: str = _field("", "Weights file that initializes the audio tower.")
    image_frozen_stages: int = _field(
        0,
        "Number of frozen stages of the image tower: 1 is the first convolution, "
        "5 all stages.",
        minimum=0,
        maximum=5,
    )
    audio_frozen_stages: int = _field(
        0, "Number of frozen stages of the audio tower.", minimum=0, maximum=5
    )
    freeze_batch_norm: bool = _field(
        False, "Freeze scale, shift and statistics of the towers' batch normalization."
    )


@dataclasses.dataclass(frozen=True)
class TransferConfig(_Validated):
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
        1.0,
        "Weight of L_s; 0 trains on the transfer loss alone (Table 3).",
        minimum=0.0,
    )
    event_reduction: str = _field(
        "mean",
        "Reduction over the events: mean (authors' code) or sum (Eq. 3, 5, 8).",
        choices=("mean", "sum"),
    )
    relevance: str = _field(
        "gram",
        "Event relevance d_k: gram (paper) or centered_pca (authors' code).",
        choices=RELEVANCE_MODES,
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.scene_weight == 0 and (self.transfer == "none" or self.alpha == 0):
            raise ValueError(
                "scene_weight must be above 0 without a transfer loss; received "
                f"`scene_weight=0` with `transfer={self.transfer}` and "
                f"`alpha={self.alpha}`, which leaves nothing to minimize. Choose "
                "another `transfer` and an `alpha` above 0."
            )


@dataclasses.dataclass(frozen=True)
class TrainingConfig(_Validated):
    """Optimization, schedule and hardware."""

    epochs: int = _field(100, "Maximum number of epochs.", minimum=1)
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
        "Stop after this many epochs without a better validation F; 0: never stop.",
        minimum=0,
    )
    seed: int = _field(
        0, "Seed of initial weights, order, augmentation and dropout.", minimum=0
    )
    precision: str = _field(
        "auto",
        "auto: mixed_bfloat16 or mixed_float16 on a GPU that has it, else float32.",
        choices=("auto", "float32", "mixed_float16", "mixed_bfloat16"),
    )
    strategy: str = _field(
        "auto",
        "auto: mirrored on several GPUs, else one device.",
        choices=("auto", "one", "mirrored"),
    )


@dataclasses.dataclass(frozen=True)
class Config:
    """All settings of a run.

    Attributes:
        data: location of the pairs and their split.
        features: log-mel spectrogram and image size.
        model: modality, depths, widths and initial weights.
        transfer: the transfer loss L_Omega and its weights.
        training: optimization, schedule and hardware.
    """

    data: DataConfig = dataclasses.field(default_factory=DataConfig)
    features: FeatureConfig = dataclasses.field(default_factory=FeatureConfig)
    model: ModelConfig = dataclasses.field(default_factory=ModelConfig)
    transfer: TransferConfig = dataclasses.field(default_factory=TransferConfig)
    training: TrainingConfig = dataclasses.field(default_factory=TrainingConfig)


def groups() -> dict[str, Any]:
    """Returns the groups of `Config`: name → dataclass, in order."""
    return {field.name: field.type for field in dataclasses.fields(Config)}


def fields() -> dict[str, tuple[str, dataclasses.Field[Any], Any]]:
    """Returns every field of the configuration: name → (group, field, type)."""
    return {
        field.name: (name, field, get_type_hints(group)[field.name])
        for name, group in groups().items()
        for field in dataclasses.fields(group)
    }
