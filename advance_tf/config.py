"""The configuration of a run as frozen dataclasses.

Every field has its description, its unit and, where there is one, the equation
of the paper. `cli.flags` derives the flags of the commands from these fields, and
`config_io` writes and reads them as the `config.json` of a work directory.

>>> config = Config(transfer=TransferConfig(transfer="event", alpha=0.3))
>>> config.transfer.alpha, config.features.frames
(0.3, 400)
"""

import dataclasses
from typing import Any, get_type_hints

from advance_tf.config_data import DataConfig as DataConfig
from advance_tf.config_fields import Validated, setting
from advance_tf.config_variants import ImageVariants, ModelVariants, TrainingVariants

TRANSFERS = (
    *("none", "sq_audio", "kl_audio", "sq_audiovisual", "kl_audiovisual", "event"),
)
DEPTHS = (10, 18, 34, 50, 101, 152)
MODALITIES = ("both", "image", "sound")
# A number of frozen stages.
WHOLE_TOWER = 5
# A value of `image_weights` and `audio_weights`.
RANDOM_WEIGHTS = "random"
# Families of backbones with stages that can be frozen one by one.
STAGED = ("resnet", "efficientnet_lite0", "yamnet")
RELEVANCE_MODES = ("gram", "centered_pca")
SCHEDULES = ("drops", "cosine", "constant")
# The fields of `FeatureConfig` that do not concern sounds.
IMAGE_SETTINGS = ("image_size", "image_resize", "jpeg_scaling", "max_image_pixels")
# Smallest and largest sampling rate of a sound.
MIN_RATE_HZ, MAX_RATE_HZ = 8_000, 192_000
# Largest magnitude of a sample; full scale is 1. Spectra stay in float32.
MAX_SAMPLE = 65_536.0


@dataclasses.dataclass(frozen=True)
class FeatureConfig(ImageVariants):
    """Parameters of the log-mel spectrogram and of the image size."""

    sample_rate_hz: int = setting(16_000, "Sampling rate in Hz.", minimum=MIN_RATE_HZ)
    clip_seconds: float = setting(10.0, "Length of a clip in seconds.", above=0.0)
    window_samples: int = setting(1024, "Hann window in samples.", minimum=2)
    hop_samples: int = setting(400, "Step between frames in samples.", minimum=1)
    fft_length: int = setting(4096, "Length of the Fourier transform.", minimum=2)
    mel_bins: int = setting(64, "Number of mel bands.", minimum=1)
    mel_min_hz: float = setting(0.0, "Lower edge of the mel bands in Hz.", minimum=0.0)
    mel_max_hz: float = setting(8000.0, "Upper edge of the mel bands in Hz.", above=0.0)
    magnitude_floor: float = setting(
        1e-10, "Smallest mel magnitude before the logarithm.", above=0.0
    )
    dynamic_range_db: float = setting(
        80.0,
        "Range in dB below the maximum of the clip; lower values are clipped.",
        above=0.0,
    )
    log_mel_stats: str = setting(
        "authors",
        "Mean and standard deviation of each mel band in dB: 'authors' or a CSV file "
        "written by `advance stats`.",
    )
    image_size: int = setting(256, "Side of the square image in pixels.", minimum=32)
    jpeg_scaling: bool = setting(
        False,
        "Decode a JPEG whose sides are at least 2, 4 or 8 times `image_size` at this "
        "fraction of its size: faster; pixel values differ slightly.",
        before=False,
    )
    max_image_pixels: int = setting(
        64_000_000,
        "Largest number of pixels of an image file; the file of a larger one is not "
        "decoded.",
        minimum=1,
        before=64_000_000,
    )
    log_mel_precision: str = setting(
        "float32",
        "Type of the Fourier transform of the log-mel: float32, or float64, which is "
        "exact in bands of low energy next to a loud tone.",
        choices=("float32", "float64"),
        before="float64",
    )

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

    def sound_shape(self, sound_input: str) -> tuple[int, ...]:
        """The shape of one sound as the input of a model.

        >>> FeatureConfig().sound_shape("log_mel")
        (400, 64)
        >>> FeatureConfig().sound_shape("waveform")
        (160000,)

        Args:
            sound_input: "log_mel" or "waveform".

        Returns:
            (frames, mel_bins) or (clip_samples,).
        """
        if sound_input == "waveform":
            return (self.clip_samples,)
        return (self.frames, self.mel_bins)


@dataclasses.dataclass(frozen=True)
class ModelConfig(ModelVariants):
    """The two towers: inputs, sizes and initial weights."""

    modality: str = setting(
        "both",
        "Inputs in use; an unused input is zeros.",
        choices=MODALITIES,
    )
    image_depth: int = setting(101, "Depth of the image ResNet.", choices=DEPTHS)
    audio_depth: int = setting(50, "Depth of the audio ResNet.", choices=DEPTHS)
    image_width: int = setting(
        64, "Channels of the image tower's first stage.", minimum=1
    )
    audio_width: int = setting(
        64, "Channels of the audio tower's first stage.", minimum=1
    )
    dropout: float = setting(
        0.0,
        "Dropout rate on the embedding before the heads.",
        minimum=0.0,
        maximum=0.95,
    )
    image_weights: str = setting(
        "",
        "Weights that initialize the image tower: a file, or 'package' or 'imagenet' "
        "where the backbone has them; empty: those of a preset or file, else random; "
        "'random': random ones in any case.",
    )
    audio_weights: str = setting(
        "",
        "Weights that initialize the audio tower: a file; empty: those of a file as "
        "backbone, else random; 'random': random ones in any case.",
    )
    image_frozen_stages: int = setting(
        0,
        "Number of frozen stages of the image tower: 1 is the first one (resnet: the "
        "first convolution), 5 the whole tower. Backbones other than resnet, "
        "efficientnet_lite0 and yamnet: 0 or 5.",
        minimum=0,
        maximum=5,
    )
    audio_frozen_stages: int = setting(
        0, "Number of frozen stages of the audio tower.", minimum=0, maximum=5
    )
    freeze_batch_norm: bool = setting(
        False, "Freeze scale, shift and statistics of the towers' batch normalization."
    )
    head_units: int = setting(
        0,
        "Units of a hidden layer with ReLU before the heads; 0: linear heads.",
        minimum=0,
        before=0,
    )
    normalize_embeddings: bool = setting(
        False,
        "Standardize each feature of the embeddings by its mean and deviation over "
        "the training pairs, computed before the training.",
        before=False,
    )
    image_backbone: str = setting(
        "resnet",
        "Network of the image tower: resnet (image_depth, image_width), "
        "efficientnet_lite0, keras:<Name> of keras.applications, kerashub:<preset or "
        "folder>, or file:<path> of a .keras, .tflite, .onnx or SavedModel.",
        before="resnet",
    )
    audio_backbone: str = setting(
        "resnet",
        "Network of the audio tower: resnet (audio_depth, audio_width), yamnet, "
        "yamnet:scores, yamnet:both, or file:<path>.",
        before="resnet",
    )
    modality_dropout: float = setting(
        0.0,
        "Probability with which a training pair is without its image or without its "
        "sound, each in half of the cases; above 0 the model has a mask of the "
        "inputs that are there, and answers from image, sound or both.",
        minimum=0.0,
        maximum=1.0,
        before=0.0,
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.modality_dropout and self.modality != "both":
            raise ValueError(
                "modality_dropout must be 0 with one modality; received "
                f"{self.modality_dropout} with `modality={self.modality}`. Choose "
                "`modality=both`."
            )
        for tower in ("image", "audio"):
            backbone = getattr(self, f"{tower}_backbone")
            stages = getattr(self, f"{tower}_frozen_stages")
            staged = backbone.partition(":")[0] in STAGED
            if not staged and stages not in (0, WHOLE_TOWER):
                raise ValueError(
                    f"{tower}_frozen_stages must be 0 or {WHOLE_TOWER} with the "
                    f"backbone {backbone}, whose layers have no such stages; received "
                    f"{stages}. Use {WHOLE_TOWER} to freeze the whole tower."
                )


@dataclasses.dataclass(frozen=True)
class TransferConfig(Validated):
    """The objective L = L_s + alpha L_Omega (Eq. 2)."""

    transfer: str = setting(
        "event",
        "L_Omega: none, sq_audio (Eq. 4), kl_audio (Eq. 3), sq_audiovisual "
        "(Eq. 6), kl_audiovisual (Eq. 5), event (Eq. 10).",
        choices=TRANSFERS,
    )
    alpha: float = setting(0.1, "Weight of the transfer loss (Eq. 2).", minimum=0.0)
    beta: float = setting(
        0.001, "Weight of L_E2 in L_E (Eq. 10); 0 gives L_E1.", minimum=0.0
    )
    scene_weight: float = setting(
        1.0,
        "Weight of L_s; 0 trains on the transfer loss alone (Table 3).",
        minimum=0.0,
    )
    event_reduction: str = setting(
        "sum",
        "Reduction over the events: sum (Eq. 3, 5, 8) or mean (authors' code).",
        choices=("sum", "mean"),
    )
    relevance: str = setting(
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

    @property
    def uses_relevance(self) -> bool:
        """Whether L_E2 (Eq. 9), the one term with d_k, has a weight above 0."""
        return self.transfer == "event" and self.alpha > 0 and self.beta > 0


@dataclasses.dataclass(frozen=True)
class TrainingConfig(TrainingVariants):
    """Optimization, schedule and hardware."""

    epochs: int = setting(100, "Maximum number of epochs.", minimum=1)
    batch_size: int = setting(64, "Pairs in a global batch.", minimum=1)
    learning_rate: float = setting(1e-5, "Learning rate.", above=0.0)
    tower_learning_rate: float = setting(
        0.0,
        "Learning rate of the towers; 0: that of the heads. Schedule and warm-up "
        "scale both.",
        minimum=0.0,
        before=0.0,
    )
    weight_decay: float = setting(1e-4, "Weight decay.", minimum=0.0)
    weight_decay_mode: str = setting(
        "l2",
        "l2: added to the gradient (authors' code); decoupled: AdamW.",
        choices=("l2", "decoupled"),
    )
    learning_rate_schedule: str = setting(
        "drops",
        "drops: lower at `drop_epochs`; cosine: to 0 over all epochs; constant.",
        choices=SCHEDULES,
        before="drops",
    )
    drop_epochs: tuple[int, ...] = setting(
        (31, 61, 91),
        "Epochs, counted from 0, from which on the learning rate is lower.",
        minimum=1,
    )
    drop_factor: float = setting(0.1, "Factor of each drop.", above=0.0, maximum=1.0)
    warmup_epochs: int = setting(
        0,
        "Epochs in which the learning rate increases linearly to its full value.",
        minimum=0,
        before=0,
    )
    label_smoothing: float = setting(
        0.0,
        "Share of the probability of the scene label that is spread evenly over all "
        "scenes.",
        minimum=0.0,
        maximum=0.95,
        before=0.0,
    )
    class_weights: str = setting(
        "none",
        "Weights of the scenes in L_s. balanced: inversely proportional to their "
        "number of training pairs.",
        choices=("none", "balanced"),
        before="none",
    )
    cached_views: int = setting(
        1,
        "With frozen towers, views of each training pair whose embeddings are computed "
        "once: the pair itself and augmented ones; with frozen stages of "
        "efficientnet_lite0 and yamnet, their activations. 0: run the towers in every "
        "epoch, on new augmentations.",
        minimum=0,
        before=0,
    )
    patience: int = setting(
        0,
        "Stop after this many epochs without a better validation F; 0: never stop.",
        minimum=0,
    )
    seed: int = setting(
        0, "Seed of initial weights, order, augmentation and dropout.", minimum=0
    )
    precision: str = setting(
        "auto",
        "auto: mixed_bfloat16 or mixed_float16 on a GPU that has it, else float32.",
        choices=("auto", "float32", "mixed_float16", "mixed_bfloat16"),
    )
    strategy: str = setting(
        "auto",
        "auto: mirrored on several GPUs, else one device. multi_worker: the processes "
        "of TF_CONFIG.",
        choices=("auto", "one", "mirrored", "multi_worker"),
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.warmup_epochs >= self.epochs:
            raise ValueError(
                "warmup_epochs must be less than `epochs`; received "
                f"{self.warmup_epochs} and {self.epochs}. Lower it."
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


# The settings that a pretraining of a tower begins with.
PRETRAINING = Config(training=TrainingConfig(learning_rate=1e-3))


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
