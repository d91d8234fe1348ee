"""The runtime of a run: seeds, numeric precision, replicas and versions."""

import platform
from collections.abc import Sequence

import keras
import numpy as np
import tensorflow as tf

import advance_tf
from advance_tf.config import TrainingConfig
from advance_tf.training.cluster import Worker

# NVIDIA compute capability from which the type has fast matrix units.
_BFLOAT16_CAPABILITY = (8, 0)
_FLOAT16_CAPABILITY = (7, 0)


def resolve_precision(
    precision: str,
    capabilities: Sequence[tuple[int, int]] | None = None,
    trained: str = "",
) -> str:
    """Returns the Keras dtype policy of a precision setting.

    Args:
        precision: "auto" or a policy of `TrainingConfig.precision`.
        capabilities: compute capability (major, minor) of each GPU; queried from
            TensorFlow when None.
        trained: policy of the epochs that a run to resume has trained; "" for a new
            run or if it is not known.

    Returns:
        "float32", "mixed_float16" or "mixed_bfloat16". "auto" selects the type
        that the weakest GPU computes fast, and float32 without a GPU; but a run keeps
        mixed_float16, or does without it, because its loss scaling has a state.

    >>> resolve_precision("auto", [(8, 0), (7, 5)])
    'mixed_float16'
    >>> resolve_precision("auto", [], trained="mixed_float16")
    'mixed_float16'
    """
    if precision != "auto":
        return precision
    found = _fastest_precision(capabilities)
    keeps = bool(trained) and "mixed_float16" in (found, trained)
    return trained if keeps else found


def _fastest_precision(capabilities: Sequence[tuple[int, int]] | None) -> str:
    if capabilities is None:
        capabilities = [
            tf.config.experimental.get_device_details(gpu).get(
                "compute_capability", (0, 0)
            )
            for gpu in tf.config.list_physical_devices("GPU")
        ]
    weakest = min(capabilities, default=(0, 0))
    if weakest >= _BFLOAT16_CAPABILITY:
        return "mixed_bfloat16"
    if weakest >= _FLOAT16_CAPABILITY:
        return "mixed_float16"
    return "float32"


def build_strategy(name: str) -> tf.distribute.Strategy:
    """Builds the distribution strategy of a run.

    Args:
        name: "one", "mirrored", or "auto": mirrored when there are several GPUs.

    Returns:
        The default strategy for one replica, else a MirroredStrategy over all
        GPUs, or over all logical CPU devices where there is no GPU.
    """
    gpus = tf.config.list_logical_devices("GPU")
    if name == "one" or (name == "auto" and len(gpus) < 2):
        return tf.distribute.get_strategy()
    devices = gpus or tf.config.list_logical_devices("CPU")
    return tf.distribute.MirroredStrategy([device.name for device in devices])


def check_one_process(config: TrainingConfig) -> None:
    """Refuses the strategy of several processes.

    Args:
        config: strategy is used.

    Raises:
        ValueError: it is "multi_worker".
    """
    if config.strategy == "multi_worker":
        raise ValueError(
            "strategy must be 'auto', 'one' or 'mirrored' in pretraining and in "
            "distillation; received 'multi_worker'. Choose one of these."
        )


def start(
    config: TrainingConfig, worker: Worker | None = None, trained: str = ""
) -> tf.distribute.Strategy:
    """Sets seeds and precision of this process and returns the strategy.

    Call it in a block of `models.recognizer.dtype_policy`, which restores the policy.

    Args:
        config: seed, precision, strategy and batch_size are used.
        worker: this process of a cluster, for a training that can use several.
        trained: as for `resolve_precision`.

    Returns:
        The strategy; build the model and the optimizer inside its scope.

    Raises:
        ValueError: the global batch does not divide evenly among the replicas, or the
            training cannot use several machines.
    """
    if worker is None:
        check_one_process(config)
    keras.utils.set_random_seed(config.seed)
    policy = resolve_precision(config.precision, trained=trained)
    keras.mixed_precision.set_global_policy(policy)
    if worker is not None and config.strategy == "multi_worker":
        strategy = worker.strategy
    else:
        strategy = build_strategy(config.strategy)
    replicas = strategy.num_replicas_in_sync
    if config.batch_size % replicas:
        raise ValueError(
            "batch_size must be a multiple of the number of replicas, among which "
            f"the global batch is divided; received {config.batch_size} for "
            f"{replicas}. Use a multiple of {replicas} or `strategy='one'`."
        )
    return strategy


def versions() -> dict[str, str]:
    """Returns the versions of the packages that determine a result."""
    return {
        "advance_tf": advance_tf.__version__,
        "keras": keras.__version__,
        "numpy": np.__version__,
        "python": platform.python_version(),
        "tensorflow": tf.__version__,
    }
