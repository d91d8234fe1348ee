"""The flags of `advance predict` for a folder that several processes share."""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from absl import flags
from absl.flags import FlagValues

from advance_tf.cli.flags import define_shard
from advance_tf.parts import Shard

if TYPE_CHECKING:
    from advance_tf.inference.examples import Example
    from advance_tf.inference.model import Model
    from advance_tf.inference.prediction import Prediction


def define_parts(values: FlagValues) -> None:
    """Defines --shard and --parts_dir."""
    define_shard(values)
    flags.DEFINE_string(
        "parts_dir", None, "Folder of the parts of --shard.", flag_values=values
    )


def check_parts(values: FlagValues) -> None:
    """Checks --shard, before a model is loaded.

    Args:
        values: flags of the command.

    Raises:
        ValueError: it is not i/n, a flag is missing, or --parts_dir is given alone.
    """
    if values.shard:
        Shard.of(values.shard)
        if not (values.data_dir and values.parts_dir):
            raise ValueError("--shard needs --data_dir and --parts_dir.")
    elif values.parts_dir:
        raise ValueError(
            f"--parts_dir must be used with --shard; received {values.parts_dir} "
            "alone. Add --shard=i/n, or leave --parts_dir out."
        )


def shard_results(
    values: FlagValues,
    model: "Model",
    model_sha256: str,
    examples: Sequence["Example"],
    failures: Sequence["Prediction"],
) -> Iterator["Prediction"]:
    """The predictions of the parts of --shard that are not done."""
    from advance_tf.inference.shared_prediction import predict_shard

    return predict_shard(
        model,
        examples,
        failures,
        values.parts_dir,
        Shard.of(values.shard),
        model_sha256=model_sha256,
        batch_size=values.batch_size,
        events=values.events,
        top=values.top,
    )
