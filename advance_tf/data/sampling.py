"""The order of the training pairs in an epoch, a function of seed and epoch."""

import numpy as np
import numpy.typing as npt


def epoch_order(
    count: int, *, seed: int, epoch: int, balance: npt.ArrayLike | None = None
) -> np.ndarray:
    """Draws the order of an epoch, so that a resumed run continues with the same one.

    Args:
        count: number of pairs.
        seed: seed of the run.
        epoch: counted from 0.
        balance: int [count], the scene of each pair, for an equal number of pairs of
            every scene; None for each pair once.

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
    rng = np.random.default_rng((seed, epoch))
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


def balanced_weights(classes: npt.ArrayLike, count: int) -> np.ndarray:
    """Weights of classes that make the total weight of each class equal.

        w_k = n / (C n_k)

    Args:
        classes: int [n], the class of each training pair.
        count: number of classes.

    Returns:
        float64 [count], with C the number of classes that are present; 0 for the
        others. The mean weight over the pairs is 1, as in scikit-learn.

    >>> balanced_weights([0, 0, 0, 1], 3).round(3).tolist()
    [0.667, 2.0, 0.0]
    """
    counts = np.bincount(np.asarray(classes), minlength=count)
    present = counts > 0
    weights = np.zeros(count)
    weights[present] = counts.sum() / (present.sum() * counts[present])
    return weights
