"""Checks `ConfusionScores` on two logical devices; test_scores runs it as a process."""

import keras
import numpy as np
import tensorflow as tf

from advance_tf.metrics.scores import (
    WEIGHTED,
    ConfusionScores,
    confusion_matrix,
    weighted_scores,
)


class IdentityModel(keras.Model):
    """A model with its own steps, like the trainer, whose inputs are the logits."""

    def __init__(self):
        super().__init__()
        self.head = keras.layers.Dense(5, kernel_initializer="identity")
        self.scores = ConfusionScores(5)

    @property
    def metrics(self):
        """Reset by Keras at the start of each epoch."""
        return [self.scores]

    def call(self, inputs):
        """Applies the identity."""
        return self.head(inputs)

    def train_step(self, data):
        """Updates the metric and no weights."""
        return self.test_step(data)

    def test_step(self, data):
        """Counts a batch."""
        inputs, scene = data
        self.scores.update_state(scene, self(inputs))
        return self.get_metrics_result()


def main() -> None:
    """Compares fit and evaluate on two replicas with NumPy."""
    cpu = tf.config.list_physical_devices("CPU")[0]
    logical = tf.config.LogicalDeviceConfiguration()
    tf.config.set_logical_device_configuration(cpu, [logical, logical])
    strategy = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
    rng = np.random.default_rng(0)
    # 26 samples in batches of 8: the last batch leaves one for each replica.
    scene = rng.integers(5, size=26)
    logits = rng.normal(size=(26, 5)).astype(np.float32)
    confusion = confusion_matrix(scene, logits.argmax(axis=1), 5)
    expected = weighted_scores(confusion)
    with strategy.scope():
        model = IdentityModel()
        model.compile()
    batches = tf.data.Dataset.from_tensor_slices((logits, scene)).batch(8)
    history = model.fit(batches, validation_data=batches, epochs=2, verbose=0).history
    received = model.evaluate(batches, verbose=0, return_dict=True)
    for name in WEIGHTED:
        np.testing.assert_allclose(history[name], [expected[name]] * 2, rtol=1e-6)
        values = [*history[f"val_{name}"], received[name]]
        np.testing.assert_allclose(values, [expected[name]] * 3, rtol=1e-6)
    print("replicas", strategy.num_replicas_in_sync)


if __name__ == "__main__":
    main()
