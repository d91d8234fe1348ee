"""Precision and strategy settings, in particular "auto"."""

import pytest
import tensorflow as tf

from advance_tf.config import TrainingConfig
from advance_tf.training import runtime


@pytest.mark.parametrize(
    ("capabilities", "expected"),
    [
        ([], "float32"),
        ([(6, 1)], "float32"),
        ([(7, 5)], "mixed_float16"),
        ([(8, 0)], "mixed_bfloat16"),
        ([(9, 0), (7, 0)], "mixed_float16"),
    ],
)
def test_auto_precision_depends_on_the_weakest_gpu(capabilities, expected):
    assert runtime.resolve_precision("auto", capabilities) == expected


@pytest.mark.parametrize(
    ("trained", "capabilities", "expected"),
    [
        ("mixed_float16", [], "mixed_float16"),
        ("mixed_float16", [(8, 0)], "mixed_float16"),
        ("float32", [(7, 5)], "float32"),
        ("mixed_bfloat16", [(7, 5)], "mixed_bfloat16"),
        # Without loss scaling on either side, the machine decides.
        ("mixed_bfloat16", [], "float32"),
        ("", [(7, 5)], "mixed_float16"),
    ],
)
def test_a_resumed_run_keeps_its_loss_scaling(trained, capabilities, expected):
    found = runtime.resolve_precision("auto", capabilities, trained)
    assert found == expected
    explicit = runtime.resolve_precision("float32", capabilities, trained)
    assert explicit == "float32"


def test_an_explicit_precision_is_used_unchanged():
    assert runtime.resolve_precision("mixed_float16", []) == "mixed_float16"


def test_the_auto_strategy_without_gpus_has_one_replica():
    strategy = runtime.build_strategy("auto")
    assert not isinstance(strategy, tf.distribute.MirroredStrategy)
    assert strategy.num_replicas_in_sync == 1


def test_the_mirrored_strategy_without_gpus_uses_logical_cpu_devices():
    strategy = runtime.build_strategy("mirrored")
    assert isinstance(strategy, tf.distribute.MirroredStrategy)
    devices = map(tf.DeviceSpec.from_string, strategy.extended.worker_devices)
    assert {device.device_type for device in devices} == {"CPU"}
    assert strategy.num_replicas_in_sync == len(tf.config.list_logical_devices("CPU"))


def test_a_batch_size_that_the_replicas_do_not_divide_is_refused(monkeypatch):
    class TwoReplicas:
        num_replicas_in_sync = 2

    monkeypatch.setattr(runtime, "build_strategy", lambda name: TwoReplicas())
    with pytest.raises(ValueError, match="received 3 for 2. Use a multiple of 2"):
        runtime.start(TrainingConfig(batch_size=3))
