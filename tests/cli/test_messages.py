"""Parameters in messages of the library are translated to flags."""

import pytest
from absl.flags import FlagValues

from advance_tf.cli.flags import define_config, define_workdir
from advance_tf.cli.messages import translate
from advance_tf.config import TransferConfig


@pytest.fixture(scope="module")
def values():
    values = FlagValues()
    define_workdir(values)
    define_config(values)
    return values


@pytest.mark.parametrize(
    ("message", "translated"),
    [
        (
            "alpha must be at least 0; received -1.",
            "--alpha must be at least 0; received -1.",
        ),
        ("Lower `batch_size` or add data.", "Lower --batch_size or add data."),
        (
            "train_fraction and `validation_fraction` may not exceed 1.",
            "--train_fraction and --validation_fraction may not exceed 1.",
        ),
        ("Set `transfer=event`.", "Set --transfer=event."),
        ("Set `transfer='event'`.", "Set --transfer=event."),
        ("Set `data_dir='a b'`.", "Set --data_dir='a b'."),
        ("Set `allow_missing=True`.", "Set --allow_missing."),
        ("Set `allow_missing=False`.", "Set --noallow_missing."),
        ("It failed. epochs must be lower.", "It failed. --epochs must be lower."),
        # Other words, parameters without a flag, commands and flags are kept.
        ("The alpha of the run is 3.", "The alpha of the run is 3."),
        ("seed 3 was used.", "seed 3 was used."),
        ("waveform must be finite.", "waveform must be finite."),
        ("Give `waveform` or `advance teach`.", "Give `waveform` or `advance teach`."),
        ("--alpha must be lower.", "--alpha must be lower."),
    ],
)
def test_parameters_become_flags(values, message, translated):
    assert translate(message, values) == translated


def test_errors_of_the_configuration_become_those_of_flags(values):
    with pytest.raises(ValueError, match="^scene_weight must") as caught:
        TransferConfig(transfer="none", scene_weight=0.0)
    assert translate(str(caught.value), values) == (
        "--scene_weight must be above 0 without a transfer loss; received "
        "--scene_weight=0 with --transfer=none and --alpha=0.1, which leaves nothing "
        "to minimize. Choose another --transfer and an --alpha above 0."
    )


def test_a_flag_of_another_command_stays_a_parameter():
    values = FlagValues()
    define_workdir(values)
    message = "alpha must be at least 0. Change `beta` or `workdir`."
    assert translate(message, values) == (
        "alpha must be at least 0. Change `beta` or --workdir."
    )
