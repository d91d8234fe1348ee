"""Compares one and two replicas; run by test_replicas in a process of its own."""

import keras
import numpy as np
import tensorflow as tf

from advance_tf.config import (
    FeatureConfig,
    ModelConfig,
    TrainingConfig,
    TransferConfig,
)
from advance_tf.data.rows import add_rows, number_rows
from advance_tf.losses.objective import Term, build_objective
from advance_tf.metrics.scores import ConfusionScores
from advance_tf.models.recognizer import build_recognizer
from advance_tf.training.callbacks import collect
from advance_tf.training.optimizer import DecayedAdam, build_optimizer
from advance_tf.training.runtime import build_strategy
from advance_tf.training.trainer import Score, Trainer

BATCH = 8


def global_batch():
    """Inputs and targets of one step, read by row as in a run."""
    rng = np.random.default_rng(0)
    inputs = {
        "image": rng.uniform(0, 255, (BATCH, 32, 32, 3)).astype(np.float32),
        "log_mel": rng.normal(size=(BATCH, 20, 64)).astype(np.float32),
    }
    targets = {
        "scene": rng.integers(0, 13, BATCH).astype(np.int32),
        "soft_labels": rng.uniform(0, 1, (BATCH, 527)).astype(np.float32),
    }

    def split(index, row):
        return tuple({name: row[name] for name in part} for part in (inputs, targets))

    rows = add_rows(number_rows(BATCH), inputs | targets, BATCH)
    return rows.map(split).batch(BATCH)


def step(strategy):
    """Replicas, logs and variables after one step, and the outputs of the batch."""
    keras.utils.set_random_seed(0)
    model = ModelConfig(image_depth=10, audio_depth=10, image_width=2, audio_width=2)
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
    outputs = collect(recognizer, global_batch(), "scene", "scene_logits")
    return strategy.num_replicas_in_sync, logs, variables, outputs


def step_of_three(strategy):
    """The kernels after one step on an incomplete batch of three pairs."""
    keras.utils.set_random_seed(0)
    model = ModelConfig(image_depth=10, audio_depth=10, image_width=2, audio_width=2)
    features = FeatureConfig(image_size=32, clip_seconds=0.5)
    with strategy.scope():
        recognizer = build_recognizer(model, features)
        # The statistics of a batch norm are those of a replica's share.
        for tower in ("image_tower", "audio_tower"):
            for layer in recognizer.get_layer(tower).layers:
                if isinstance(layer, keras.layers.BatchNormalization):
                    layer.trainable = False
        trainer = Trainer(recognizer, build_objective(TransferConfig("none")), [])
        trainer.compile(optimizer=keras.optimizers.SGD(0.01), jit_compile=False)
    eight, three = global_batch(), global_batch().unbatch().take(3).batch(BATCH)
    trainer.fit(eight.concatenate(three), epochs=1, verbose=0, shuffle=False)
    return [v.numpy() for v in recognizer.trainable_variables]


def adam_steps(strategy):
    """The variable on every replica after three steps of Adam."""
    with strategy.scope():
        variable = keras.Variable([1.0, -2.0, 3.0])
        optimizer = DecayedAdam(0.1, decay=0.1)
        optimizer.build([variable])

    @tf.function
    def step(share):
        # The copy has a device, which the reduction over the replicas needs.
        strategy.run(lambda: optimizer.apply([tf.identity(share)], [variable]))

    for gradient in ([0.1, 2.0, -0.3], [-1.0, 0.2, 0.4], [0.5, 0.5, 0.1]):
        step(tf.constant(gradient) / strategy.num_replicas_in_sync)
    return [x.numpy() for x in strategy.experimental_local_results(variable.value)]


def overflow(strategy):
    """Kernels and scales on every replica after steps without and with an overflow.

    In the second step the gradients of the last example are not finite: those of the
    last replica alone.
    """
    with strategy.scope():
        inputs = keras.Input((2,), name="x")
        dense = keras.layers.Dense(1, kernel_initializer="ones", name="y")
        model = keras.Model({"x": inputs}, {"y": dense(inputs)})
        term = Term(keras.losses.MeanSquaredError(), "y", "y", 1.0)
        trainer = Trainer(model, {"regression": term})
        trainer.compile(build_optimizer(TrainingConfig(), True), jit_compile=False)
        trainer.optimizer.build(model.trainable_variables)
    values, found = np.ones((4, 2), np.float32), []
    for last in (1.0, np.inf):
        values[-1] = last
        batch = {"x": values}, {"y": np.zeros((4, 1), np.float32)}
        batches = tf.data.Dataset.from_tensor_slices(batch).batch(4)
        trainer.fit(batches, epochs=1, verbose=0, shuffle=False)
        variables = dense.kernel, trainer.optimizer.dynamic_scale
        copies = [strategy.experimental_local_results(v.value) for v in variables]
        found.append([np.array([copy.numpy() for copy in own]) for own in copies])
    return found


def main() -> None:
    """Compares losses, scores, updated weights and moving statistics."""
    cpu = tf.config.list_physical_devices("CPU")[0]
    logical = tf.config.LogicalDeviceConfiguration()
    tf.config.set_logical_device_configuration(cpu, [logical, logical])
    # A second mirrored strategy in a process would count its collective operations
    # from the start again, with the shapes of the first one's.
    strategies = [build_strategy("one"), build_strategy("mirrored")]
    one, two = map(step, strategies)
    for name, value in one[1].items():
        np.testing.assert_allclose(two[1][name], value, rtol=1e-4, err_msg=name)
    for found, expected in zip(two[2], one[2], strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-4)
    # Each pair once, although every replica holds the model.
    for found, expected in zip(two[3], one[3], strict=True):
        assert len(found) == BATCH
        np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-3)
    # Two replicas have two pairs and one; each pair has the same weight.
    for found, expected in zip(
        step_of_three(strategies[1]), step_of_three(strategies[0]), strict=True
    ):
        np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-5)
    (expected,) = adam_steps(strategies[0])
    assert np.abs(expected - [1.0, -2.0, 3.0]).min() > 1e-2
    found = adam_steps(strategies[1])
    np.testing.assert_allclose(found, [expected] * 2, rtol=1e-6)
    (kernels, scales), (kept, halved) = overflow(strategies[1])
    assert (kernels < 1).all()
    np.testing.assert_array_equal(kept, kernels)
    np.testing.assert_array_equal(scales, [2.0**15] * 2)
    np.testing.assert_array_equal(halved, [2.0**14] * 2)
    print("replicas", one[0], two[0])


if __name__ == "__main__":
    main()
