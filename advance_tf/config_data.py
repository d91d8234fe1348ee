"""The settings of the data set of a run: its folder and its split."""

import dataclasses

from advance_tf.config_fields import Validated, setting

PROTOCOLS = ("site", "pair", "published", "block")


@dataclasses.dataclass(frozen=True)
class DataConfig(Validated):
    """Location of the pairs and how they are split."""

    data_dir: str = setting(
        "", "Folder in ADVANCE's layout (vision/<scene>, sound/<scene>)."
    )
    split_protocol: str = setting(
        "site",
        "site: no site is in two splits, as in the paper. pair: random by pair, "
        "leaky (sites shared between training and test). published: the split of "
        "ADVANCE in assets/advance_split_seed0.csv. block: by spatial blocks.",
        choices=PROTOCOLS,
    )
    split_seed: int = setting(
        0, "Seed of the split, independent of the seed of training.", minimum=0
    )
    train_fraction: float = setting(
        0.7, "Share of each scene's sites in training.", above=0.0, maximum=1.0
    )
    validation_fraction: float = setting(
        0.1, "Share of each scene's sites in validation.", minimum=0.0, maximum=1.0
    )
    block_kilometres: float = setting(
        10.0, "Side of a block of `split_protocol=block`.", above=0.0, before=10.0
    )
    allow_missing: bool = setting(
        False, "Skip and count unpaired or empty files; without it they are an error."
    )
    cache_dir: str = setting(
        "", "Folder for decoded pairs; empty: the files are decoded in every epoch."
    )
    tf_data_service: str = setting(
        "", "Dispatcher of a tf.data service, as grpc://host:port.", before=""
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.train_fraction + self.validation_fraction > 1.0:
            raise ValueError(
                "train_fraction and `validation_fraction` may not exceed 1 in sum; "
                f"received {self.train_fraction} and {self.validation_fraction}. "
                "Lower one of them."
            )
