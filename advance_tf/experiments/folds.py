"""Folds by site: of a whole data set, and inside a training split."""

import collections
import dataclasses
import math
import warnings
from collections.abc import Sequence
from fractions import Fraction

import numpy as np

from advance_tf.data import splits
from advance_tf.data.manifest import Manifest
from advance_tf.data.pairing import Pair
from advance_tf.extras import requires_extra

with requires_extra("report"):
    from sklearn.model_selection import StratifiedGroupKFold


def split_into_folds(
    pairs: Sequence[Pair], folds: int, seed: int = 0, *, setting: str = "folds"
) -> np.ndarray:
    """Assigns the sites to folds, so that the scenes are spread evenly over them.

    Args:
        pairs: pairs of a data set or of a split.
        folds: number of folds, at least 2.
        seed: seed of the order in which sites are assigned.
        setting: name of the setting of the number of folds, for errors.

    Returns:
        The fold of each pair, int64 [n] in [0, folds). No site is in two folds.

    Raises:
        ValueError: there are fewer than 2 folds, too few sites or pairs, or all sites
            of a scene are in one fold, so that without it the scene cannot be trained.

    Source: scikit-learn's StratifiedGroupKFold with sites as groups.

    Example:
        >>> pairs = [Pair(f"{n:05d}", "lake", f"{n:05d}", "", "") for n in range(6)]
        >>> np.bincount(split_into_folds(pairs, 3)).tolist()
        [2, 2, 2]
    """
    if folds < 2:
        raise ValueError(f"{setting} must be at least 2; received {folds}.")
    scenes = np.array([pair.scene for pair in pairs])
    sites = np.array([pair.site for pair in pairs])
    if len(set(sites.tolist())) < folds:
        raise ValueError(
            f"Each fold must have a site; received {len(set(sites.tolist()))} sites "
            f"for {folds} folds. Lower `{setting}`."
        )
    largest, count = collections.Counter(scenes.tolist()).most_common(1)[0]
    if count < folds:
        raise ValueError(
            f"At least one scene must have a pair for each of {folds} folds; the "
            f"largest, {largest}, has {count}. Lower `{setting}`."
        )
    splitter = StratifiedGroupKFold(folds, shuffle=True, random_state=seed)
    fold_of = np.zeros(len(pairs), np.int64)
    with warnings.catch_warnings():
        # Of scenes with fewer pairs than folds, which the check below allows.
        warnings.simplefilter("ignore", UserWarning)
        for fold, (_, held_out) in enumerate(splitter.split(sites, scenes, sites)):
            fold_of[held_out] = fold
    for scene in sorted(set(scenes.tolist())):
        if len(set(fold_of[scenes == scene].tolist())) < 2:
            raise ValueError(
                f"Each scene must have sites in at least two folds; all sites of "
                f"{scene} are in one of {folds}. Add sites of the scene, or use "
                f"another number of `{setting}`."
            )
    return fold_of


def cross_validation(
    manifest: Manifest, folds: int, *, validation_fraction: float = 0.1, seed: int = 0
) -> list[Manifest]:
    """Makes each fold of a data set the test split once.

    Of the other sites of each scene a part is validation, such that this is about
    `validation_fraction` of all sites, and the rest training.

    Args:
        manifest: pairs of the data set; its splits are not used.
        folds: number of folds.
        validation_fraction: part of all sites in validation.
        seed: seed of the folds and of the validation sites.

    Returns:
        One manifest for each fold, with the pairs of `manifest` in its order.

    Raises:
        ValueError: see `split_into_folds`.
    """
    fold_of = split_into_folds(manifest.pairs, folds, seed)
    # Rounded up, so that 1/9 of 9 sites is one. The floors are those of decimals.
    exact = Fraction(repr(float(validation_fraction))) * folds / (folds - 1)
    part = math.ceil(exact * 10**6) / 10**6
    manifests = []
    for fold in range(folds):
        others = [
            pair
            for pair, own in zip(manifest.pairs, fold_of, strict=True)
            if own != fold
        ]
        # Sites that the floors leave over are training too.
        assigned = splits.split_by_site(others, round(1 - part, 6), part, seed)
        split_of = {
            pair.stem: split if split == splits.VALIDATION else splits.TRAINING
            for pair, split in zip(others, assigned, strict=True)
        }
        own_splits = tuple(
            split_of.get(pair.stem, splits.TEST) for pair in manifest.pairs
        )
        manifests.append(_audited(manifest, manifest.pairs, own_splits, seed))
    return manifests


def training_folds(manifest: Manifest, folds: int, seed: int = 0) -> list[Manifest]:
    """Makes each fold of the training split the validation split once.

    The manifests hold the training pairs alone: a choice that is made with them cannot
    depend on the validation or test split.

    Args:
        manifest: pairs and splits.
        folds: number of folds.
        seed: seed of the folds.

    Returns:
        One manifest for each fold, without test pairs.

    Raises:
        ValueError: see `split_into_folds`.
    """
    pairs = manifest.pairs_of(splits.TRAINING)
    fold_of = split_into_folds(pairs, folds, seed, setting="grid_folds")
    return [
        _audited(
            manifest,
            pairs,
            tuple(
                splits.VALIDATION if own == fold else splits.TRAINING
                for own in fold_of.tolist()
            ),
            seed,
        )
        for fold in range(folds)
    ]


def _audited(
    manifest: Manifest, pairs: Sequence[Pair], assigned: tuple[str, ...], seed: int
) -> Manifest:
    made = dataclasses.replace(
        manifest,
        pairs=tuple(pairs),
        splits=assigned,
        protocol="site",
        split_seed=seed,
    )
    made.audit()
    return made


def site_ratio(manifests: Sequence[Manifest]) -> float:
    """Sites in test divided by sites in training, averaged over splits.

    Args:
        manifests: one for each split.

    Returns:
        The ratio for `metrics.repeated_splits.corrected_resampled_t`.
    """
    ratios = []
    for manifest in manifests:
        sites = {
            split: {pair.site for pair in manifest.pairs_of(split)}
            for split in (splits.TEST, splits.TRAINING)
        }
        ratios.append(len(sites[splits.TEST]) / len(sites[splits.TRAINING]))
    return float(np.mean(ratios))
