"""The order of the training pairs in an epoch, a function of seed and epoch."""

import dataclasses
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from advance_tf.config import TrainingConfig


def epoch_order(
    count: int,
    *,
    seed: int,
    epoch: int,
    balance: npt.ArrayLike | None = None,
    fixed: bool = False,
) -> np.ndarray:
    """Draws the order of an epoch, so that a resumed run continues with the same one.

    Args:
        count: number of pairs.
        seed: seed of the run.
        epoch: counted from 0.
        balance: int [count], the scene of each pair, for an equal number of pairs of
            every scene; None for each pair once.
        fixed: the order of epoch 0 in every epoch, as in the authors' code.

    Returns:
        int64 [count], positions of pairs. Shuffled, it is a permutation. Balanced,
        the numbers of the scenes that are present differ by at most 1, which of them
        get one more is random, and no pair is drawn again before all others of its
        scene are drawn.

    >>> sorted(epoch_order(4, seed=0, epoch=1).tolist())
    [0, 1, 2, 3]
    >>> scenes = np.array([7, 7, 7, 9])
    >>> scenes[epoch_order(4, seed=0, epoch=1, balance=scenes)].tolist().count(9)
    2
    """
    rng = np.random.default_rng((seed, 0 if fixed else epoch))
    if balance is None:
        return rng.permutation(count)
    classes = np.asarray(balance)
    present = rng.permutation(np.unique(classes))
    shares = np.full(len(present), count // len(present))
    shares[: count % len(present)] += 1
    drawn = []
    for scene, share in zip(present, shares, strict=True):
        own = np.flatnonzero(classes == scene)
        rounds = -(-int(share) // len(own))
        permutations = [rng.permutation(own) for _ in range(rounds)]
        drawn.append(np.concatenate([own[:0], *permutations])[:share])
    return rng.permutation(np.concatenate(drawn))


@dataclasses.dataclass(frozen=True)
class TrainingEpochs:
    """How the epochs of training draw and augment their elements.

    The order of an epoch depends only on `seed` and its number, so that a run resumed
    at `first_epoch` gets the same orders as an uninterrupted run.

    Attributes:
        seed: seed of order and augmentation.
        first_epoch: number of the first epoch, for a resumed run.
        sampling: "shuffled", "balanced" over the scenes or classes, or "fixed", one
            order for all epochs.
        augmentation: of images, see `augment.augment_image`.
        keep_last_batch: use an incomplete last batch.
    """

    seed: int = 0
    first_epoch: int = 0
    sampling: str = "shuffled"
    augmentation: str = "real"
    keep_last_batch: bool = False

    @classmethod
    def of(cls, training: TrainingConfig, first_epoch: int = 0) -> "TrainingEpochs":
        """The epochs of a run.

        Args:
            training: seed, sampling, augmentation and keep_last_batch are used.
            first_epoch: number of the first epoch, for a resumed run.

        Returns:
            The epochs from `first_epoch` on.
        """
        return cls(
            training.seed,
            first_epoch,
            training.sampling,
            training.augmentation,
            training.keep_last_batch,
        )

    def order(
        self, count: int, epoch: int, classes: npt.ArrayLike | None = None
    ) -> np.ndarray:
        """Draws the order of an epoch, see `epoch_order`.

        Args:
            count: number of elements.
            epoch: counted from 0.
            classes: int [count], the scene or class of each element, which "balanced"
                sampling needs.

        Returns:
            int64 [count], positions of elements.

        Raises:
            ValueError: `sampling` is "balanced", and there are no classes.

        >>> epochs = TrainingEpochs(seed=3, sampling="fixed")
        >>> (epochs.order(5, 0) == epochs.order(5, 1)).all()
        np.True_
        """
        is_balanced = self.sampling == "balanced"
        if is_balanced and classes is None:
            raise ValueError(
                "classes must be given for `sampling` 'balanced'; received None. Pass "
                "the class of each element, or use 'shuffled'."
            )
        return epoch_order(
            count,
            seed=self.seed,
            epoch=epoch,
            balance=classes if is_balanced else None,
            fixed=self.sampling == "fixed",
        )


def smallest_split(training: TrainingConfig, split: str) -> int:
    """The least number of pairs that a split must have.

    Args:
        training: batch_size and keep_last_batch are used.
        split: "training" or "validation".

    Returns:
        A batch in training, unless an incomplete one is kept; otherwise 1.
    """
    whole = split == "training" and not training.keep_last_batch
    return training.batch_size if whole else 1


def check_split_size(
    training: TrainingConfig, split: str, count: int, kind: str = "pairs"
) -> None:
    """Checks that a split has the examples of `smallest_split`.

    Args:
        training: batch_size and keep_last_batch are used.
        split: "training" or "validation".
        count: number of its examples.
        kind: what they are, for the error.

    Raises:
        ValueError: there are fewer.
    """
    least = smallest_split(training, split)
    if count < least:
        raise ValueError(
            f"The {split} split must have at least {least} {kind}; it has {count}. "
            "Lower `batch_size` or add data."
        )


def check_balance(training: TrainingConfig) -> None:
    """Refuses a new training that corrects the numbers of the scenes twice.

    Balanced class weights are those of the pairs of a split, which balanced sampling
    draws equally often already.

    Args:
        training: class_weights and sampling are used.

    Raises:
        ValueError: both are "balanced".
    """
    if training.class_weights == training.sampling == "balanced":
        raise ValueError(
            "class_weights must be 'none' with balanced `sampling`, which corrects the "
            "numbers of pairs of the scenes already; received 'balanced' for both. "
            "Leave one of them out."
        )


def evaluation_batch_size(count: int, batch_size: int, replicas: int) -> int:
    """The size of batches without one that leaves a replica without an example.

    A batch is divided among the replicas of a strategy, each of which needs an example.

    Args:
        count: number of examples.
        batch_size: the largest size, a multiple of `replicas`.
        replicas: number of replicas.

    Returns:
        The largest multiple of `replicas` up to `batch_size` with a last batch that is
        whole or has an example for each replica; `batch_size` where there is none.

    >>> evaluation_batch_size(101, 32, 1), evaluation_batch_size(97, 32, 4)
    (32, 28)
    """
    for size in range(batch_size, 0, -replicas):
        rest = count % size
        if rest == 0 or rest >= replicas:
            return size
    return batch_size


def class_rounds(
    members: Sequence[npt.ArrayLike], count: int, *, seed: int, epoch: int
) -> np.ndarray:
    """Draws the same number of elements of each class, one of each in every round.

    Args:
        members: int [n_k] of each class, positions of its elements; an element may be
            in several classes.
        count: number of draws.
        seed: seed of the run.
        epoch: counted from 0.

    Returns:
        int64 [count], positions. A round has one element of each class that is not
        empty, in a new order; a class draws all its elements before one again.

    Source: the authors' pretraining on AudioSet, where the passes over the classes
    continue over all epochs; here every epoch begins anew.

    >>> drawn = class_rounds([[0, 1, 2], [3], []], 6, seed=0, epoch=0)
    >>> (drawn == 3).sum(), sorted(set(drawn.tolist()))
    (np.int64(3), [0, 1, 2, 3])
    """
    rng = np.random.default_rng((seed, epoch, 2))
    present = [np.asarray(own, np.int64) for own in members if len(np.atleast_1d(own))]
    rounds = -(-count // len(present))
    # [rounds, classes]
    columns = []
    for own in present:
        passes = [rng.permutation(own) for _ in range(-(-rounds // len(own)))]
        columns.append(np.concatenate(passes)[:rounds])
    drawn = rng.permuted(np.stack(columns, axis=1), axis=1)
    return drawn.reshape(-1)[:count]


def balanced_class_weights(classes: npt.ArrayLike, count: int) -> np.ndarray:
    """Weights of classes that make the total weight of each class equal.

        w_k = n / (C n_k)

    Args:
        classes: int [n], the class of each training pair.
        count: number of classes.

    Returns:
        float64 [count], with C the number of classes that are present; 0 for the
        others. The mean weight over the pairs is 1, as in scikit-learn.

    >>> balanced_class_weights([0, 0, 0, 1], 3).round(3).tolist()
    [0.667, 2.0, 0.0]
    """
    counts = np.bincount(np.asarray(classes), minlength=count)
    present = counts > 0
    weights = np.zeros(count)
    weights[present] = counts.sum() / (present.sum() * counts[present])
    return weights
