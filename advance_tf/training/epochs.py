"""Epochs without `Model.fit`, for clusters and batches of a tf.data service."""

from collections.abc import Callable, Iterable, Sequence

import keras
import tensorflow as tf

from advance_tf.training.trainer import Tensors, Trainer

Batches = Iterable[tuple[Tensors, Tensors]]


def train_epochs(
    trainer: Trainer,
    training: Batches,
    validation: Batches,
    callbacks: Sequence[keras.callbacks.Callback],
    *,
    first_epoch: int,
    epochs: int,
    verbose: int = 0,
) -> None:
    """Trains like `Model.fit`, on one replica of each process.

    `Model.fit` of Keras 3 does not run under MultiWorkerMirroredStrategy. Gradients
    are summed over the processes, each of which has its own share of every global
    batch; the logs are those of all shares.

    Args:
        trainer: a compiled trainer, built in the scope of its strategy.
        training: this process's share of the batches; each pass is an epoch. Every
            process must have the same number of batches.
        validation: this process's share of the validation.
        callbacks: receive the same logs in every process.
        first_epoch: epochs that are trained already.
        epochs: epochs in total.
        verbose: as for `Model.fit`, for callbacks.
    """
    train = _on_every_worker(trainer, trainer.train_step)
    test = _on_every_worker(trainer, trainer.test_step)
    handlers = keras.callbacks.CallbackList(
        list(callbacks),
        model=trainer,
        verbose=verbose,
        epochs=epochs,
        steps=_steps(training),
    )
    trainer.stop_training = False
    handlers.on_train_begin()
    for epoch in range(first_epoch, epochs):
        handlers.on_epoch_begin(epoch)
        logs = _pass(trainer, training, train, handlers)
        scores = _pass(trainer, validation, test)
        logs |= {f"val_{name}": value for name, value in scores.items()}
        handlers.on_epoch_end(epoch, logs)
        if trainer.stop_training:
            break
    handlers.on_train_end()


def _steps(batches: Batches) -> int | None:
    """The number of batches, for the progress bar."""
    if isinstance(batches, tf.data.Dataset):
        count = int(batches.cardinality())
        return count if count >= 0 else None
    return None


def _on_every_worker(
    trainer: Trainer, step: Callable[[tuple[Tensors, Tensors]], object]
) -> Callable[[tuple[Tensors, Tensors]], None]:
    """A graph function of a batch that runs a step under the trainer's strategy."""
    strategy = trainer.distribute_strategy or tf.distribute.get_strategy()

    def on_replica(batch: tuple[Tensors, Tensors]) -> None:
        step(batch)

    # The batches of an epoch differ in length once.
    @tf.function(reduce_retracing=True)
    def run(batch: tuple[Tensors, Tensors]) -> None:
        strategy.run(on_replica, args=(batch,))

    graph: Callable[[tuple[Tensors, Tensors]], None] = run
    return graph


def _pass(
    trainer: Trainer,
    batches: Batches,
    step: Callable[[tuple[Tensors, Tensors]], None],
    handlers: keras.callbacks.CallbackList | None = None,
) -> dict[str, float]:
    """Runs a step on every batch; returns the metrics over all processes."""
    trainer.reset_metrics()
    for number, batch in enumerate(batches):
        if handlers is not None:
            handlers.on_train_batch_begin(number)
        step(batch)
        if handlers is not None:
            handlers.on_train_batch_end(number, {})
    # Reading a metric outside a replica adds its values of all processes.
    results = trainer.get_metrics_result()
    return {name: float(value) for name, value in results.items()}
