"""Compares two replicas with one device; test_contract runs it in a new process."""

import numpy as np
import tensorflow as tf

from advance_tf.config import TransferConfig
from advance_tf.losses.objective import build_objective

EVENTS, GLOBAL_BATCH = 527, 8


def step(strategy, terms, weight, targets, dataset):
    """The objective and its gradient with respect to `weight`, over all replicas."""

    def on_replica(index):
        with tf.GradientTape() as tape:
            inputs = tf.gather(targets["inputs"], index)
            outputs = {
                "scene_logits": tf.matmul(inputs, weight[:, :13]),
                "audio_event_logits": tf.matmul(inputs, weight),
            }
            total = tf.add_n(
                [
                    term.weight
                    * term.loss(
                        tf.gather(targets[term.target], index), outputs[term.output]
                    )
                    for term in terms.values()
                ]
            )
        return total, tape.gradient(total, weight)

    (batch,) = strategy.experimental_distribute_dataset(dataset)
    total, gradient = tf.function(lambda: strategy.run(on_replica, args=(batch,)))()
    add = tf.distribute.ReduceOp.SUM
    return strategy.reduce(add, total, None), strategy.reduce(add, gradient, None)


def main() -> None:
    """Compares the step of two replicas with that of one device on the same batch."""
    cpu = tf.config.list_physical_devices("CPU")[0]
    logical = tf.config.LogicalDeviceConfiguration()
    tf.config.set_logical_device_configuration(cpu, [logical, logical])
    single = tf.distribute.get_strategy()
    mirrored = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
    rng = np.random.default_rng(0)
    targets = {
        "inputs": tf.constant(rng.normal(size=(GLOBAL_BATCH, 20)), tf.float32),
        "scene": tf.constant(rng.integers(0, 13, GLOBAL_BATCH), tf.int32),
        "soft_labels": tf.constant(rng.random((GLOBAL_BATCH, EVENTS)), tf.float32),
        "teacher_logits": tf.constant(
            rng.normal(size=(GLOBAL_BATCH, EVENTS)), tf.float32
        ),
    }
    initial = rng.normal(size=(20, EVENTS)).astype(np.float32)
    dataset = tf.data.Dataset.range(GLOBAL_BATCH).batch(GLOBAL_BATCH)
    for transfer in ("none", "sq_audio", "kl_audio", "event"):
        config = TransferConfig(transfer=transfer, alpha=2.0, beta=1.0)
        results = []
        for strategy in (single, mirrored):
            with strategy.scope():
                weight = tf.Variable(initial)
                terms = build_objective(
                    config,
                    posteriors=np.full((13, EVENTS), 0.2) + 0.1 * np.eye(13, EVENTS),
                    relevance=np.ones((13, EVENTS)) + np.eye(13, EVENTS),
                )
            results.append(step(strategy, terms, weight, targets, dataset))
        np.testing.assert_allclose(results[1][0], results[0][0], rtol=1e-5)
        np.testing.assert_allclose(results[1][1], results[0][1], rtol=1e-4, atol=1e-6)
        print(transfer, float(results[0][0]))
    print("replicas", mirrored.num_replicas_in_sync)


if __name__ == "__main__":
    main()
