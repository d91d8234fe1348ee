"""Settings of points that the paper leaves open and the authors' code decides.

They are fields of `FeatureConfig`, `ModelConfig` and `TrainingConfig`. The page
"Paper, code and this package" of the documentation lists all differences.
"""

import dataclasses

from advance_tf.config_fields import Validated, setting

RESIZINGS = ("bicubic", "bilinear", "nearest")
INITIALIZATIONS = ("authors", "keras")
SAMPLINGS = ("shuffled", "balanced", "fixed")
AUGMENTATIONS = ("real", "levels", "none")
OPTIMIZERS = ("adam", "sgd")


@dataclasses.dataclass(frozen=True, kw_only=True)
class ImageVariants(Validated):
    """How images are read, for `FeatureConfig`."""

    image_resize: str = setting(
        "bicubic",
        "Interpolation of resized images: bicubic or bilinear with antialiasing, as "
        "in Pillow, or nearest, the default of Pillow before version 7.",
        choices=RESIZINGS,
        before="bilinear",
    )


@dataclasses.dataclass(frozen=True, kw_only=True)
class ModelVariants(Validated):
    """Random weights, for `ModelConfig`."""

    initialization: str = setting(
        "authors",
        "Random weights of ResNets and heads. authors: PyTorch's, he-normal by fan-out "
        "for convolutions, uniform within 1/sqrt(fan_in) for dense kernels and biases; "
        "keras: he-normal by fan-in, Glorot and zeros.",
        choices=INITIALIZATIONS,
        before="keras",
    )


@dataclasses.dataclass(frozen=True, kw_only=True)
class TrainingVariants(Validated):
    """Optimizer, order and augmentation, for `TrainingConfig`."""

    optimizer: str = setting(
        "adam",
        "adam, or sgd with `momentum`.",
        choices=OPTIMIZERS,
        before="adam",
    )
    momentum: float = setting(
        0.9, "Momentum of sgd.", minimum=0.0, maximum=0.999, before=0.9
    )
    augmentation: str = setting(
        "real",
        "Images in training: real, factors with real-valued results; levels, each step "
        "cut to whole levels as by Pillow in the authors' code; none. With none, clips "
        "of `advance pretrain` are not masked either.",
        choices=AUGMENTATIONS,
        before="real",
    )
    sampling: str = setting(
        "shuffled",
        "Order of an epoch. shuffled: every training pair once; balanced: as many "
        "pairs of each scene; fixed: every pair once, in the same order in all epochs.",
        choices=SAMPLINGS,
        before="shuffled",
    )
    keep_last_batch: bool = setting(
        False, "Train on an incomplete last batch too.", before=False
    )
    test_epochs: bool = setting(
        False,
        "Score the test pairs after each epoch too, for the deviation over epochs of "
        "the authors' code; they select nothing.",
        before=False,
    )
