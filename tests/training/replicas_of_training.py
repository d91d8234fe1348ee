"""Compares one and two replicas; run by test_replicas in a process of its own."""

import keras
import numpy as np
import tensorflow as tf

from advance_tf.config import FeatureConfig, ModelConfig, TransferConfig
from advance_tf.losses.objective import build_objective
from advance_tf.metrics.scores import ConfusionScores
from advance_tf.models.recognizer import build_recognizer
from advance_tf.training.runtime import build_strategy
from advance_tf.training.trainer import Score, Trainer

BATCH = 8


def global_batch():
    """Inputs and targets of one step."""
    rng = np.random.default_rng(0)
    inputs = {
        "image": rng.uniform(0, 255, (BATCH, 32, 32, 3)).astype(np.float32),
        "log_mel": rng.normal(size=(BATCH, 20, 64)).astype(np.float32),
    }
    targets = {
        "scene": rng.integers(0, 13, BATCH).astype(np.int32),
        "soft_labels": rng.uniform(0, 1, (BATCH, 527)).astype(np.float32),
    }
    return tf.data.Dataset.from_tensors((inputs, targets)).unbatch().batch(BATCH)


def step(name):
    """Replicas, logs and variables after one step under a strategy."""
    strategy = build_strategy(name)
    keras.utils.set_random_seed(0)
    model = ModelConfig(image_depth=18, audio_depth=18, image_width=2, audio_width=2)
    features = FeatureConfig(image_size=32, clip_seconds=0.5)
    transfer = TransferConfig(transfer="kl_audiovisual", alpha=1.0)
    with strategy.scope():
        score = Score(ConfusionScores(name="scores"), "scene", "scene_logits")
        recognizer = build_recognizer(model, features, transfer.transfer)
        trainer = Trainer(recognizer, build_objective(transfer), [score])
        trainer.compile(optimizer=keras.optimizers.SGD(0.01), jit_compile=False)
    history = trainer.fit(global_batch(), epochs=1, verbose=0, shuffle=False)
    logs = {key: values[0] for key, values in history.history.items()}
    variables = [v.numpy() for v in recognizer.variables]
    return strategy.num_replicas_in_sync, logs, variables


def main() -> None:
    """Compares losses, scores, updated weights and moving statistics."""
    cpu = tf.config.list_physical_devices("CPU")[0]
    logical = tf.config.LogicalDeviceConfiguration()
    tf.config.set_logical_device_configuration(cpu, [logical, logical])
    one, two = step("one"), step("mirrored")
    for name, value in one[1].items():
        np.testing.assert_allclose(two[1][name], value, rtol=1e-4, err_msg=name)
    for found, expected in zip(two[2], one[2], strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-4)
    print("replicas", one[0], two[0])


if __name__ == "__main__":
    main()
