"""The machine of a run: devices, numeric precision, replicas and seeds."""

import keras
import tensorflow as tf

from advance_tf.config import TrainingConfig

# NVIDIA compute capability from which the type has fast matrix units.
_BFLOAT16_CAPABILITY = (8, 0)
_FLOAT16_CAPABILITY = (7, 0)


def resolve_precision(precision: str, capabilities=None) -> str:
    """The Keras dtype policy for `precision`.

    Args:
        precision: "auto" or a policy of `TrainingConfig.precision`.
        capabilities: compute capability (major, minor) of each GPU; asked of
            TensorFlow when None.

    Returns:
        "float32", "mixed_float16" or "mixed_bfloat16". "auto" takes what the
        weakest GPU computes fast, and float32 without a GPU.
    """
    if precision != "auto":
        return precision
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
    """The distribution strategy of a run.

    Args:
        name: "one", "mirrored", or "auto": mirrored on several GPUs.

    Returns:
        The default strategy for one replica, else a MirroredStrategy over all
        GPUs, or over all logical CPU devices where there is no GPU.
    """
    gpus = tf.config.list_logical_devices("GPU")
    if name == "one" or (name == "auto" and len(gpus) < 2):
        return tf.distribute.get_strategy()
    devices = gpus or tf.config.list_logical_devices("CPU")
    return tf.distribute.MirroredStrategy([device.name for device in devices])


def start(config: TrainingConfig) -> tf.distribute.Strategy:
    """Sets seeds and precision for this process and returns the strategy.

    Args:
        config: seed, precision, strategy and batch_size are read.

    Returns:
        The strategy; make the model and the optimizer inside its scope.

    Raises:
        ValueError: the global batch does not divide among the replicas.
    """
    keras.utils.set_random_seed(config.seed)
    keras.mixed_precision.set_global_policy(resolve_precision(config.precision))
    strategy = build_strategy(config.strategy)
    replicas = strategy.num_replicas_in_sync
    if config.batch_size % replicas:
        raise ValueError(
            "--batch_size is the global batch and must divide among the "
            f"replicas; received {config.batch_size} for {replicas}. Use a "
            f"multiple of {replicas} or --strategy=one."
        )
    return strategy
