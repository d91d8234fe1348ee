"""Checks settings of a split that are given together with a split that exists."""

import dataclasses
from collections.abc import Mapping
from typing import Any

from advance_tf.config import DataConfig
from advance_tf.data.manifest import Manifest, make_manifest
from advance_tf.data.splits import PUBLISHED_SEED

# A manifest states the protocol and the seed of its split, but not these.
_SHARES = ("train_fraction", "validation_fraction", "block_kilometres")


def check_split_settings(
    manifest: Manifest, data: DataConfig, given: Mapping[str, Any]
) -> None:
    """Checks that given settings of a split are those of a manifest.

    Fractions are checked by splitting the data set again, unless its pairs have changed
    since.

    Args:
        manifest: the split in use.
        data: settings of the run, with the given ones.
        given: field of the configuration → value; other fields are ignored.

    Raises:
        ValueError: the given settings make another split.

    >>> manifest = Manifest((), (), "site", split_seed=0)
    >>> check_split_settings(manifest, DataConfig(), {"split_protocol": "published"})
    >>> check_split_settings(manifest, DataConfig(), {"split_seed": 5})
    Traceback (most recent call last):
    ValueError: A split that exists is used as it is; its `split_seed` is 0, received
    `split_seed=5`. Leave this setting out, or use another `workdir` without `manifest`.
    """
    stated: dict[str, Any] = {
        "split_protocol": manifest.protocol,
        "split_seed": manifest.split_seed,
    }
    # What is stated, its wanted value, and the given setting that wants it.
    wanted = [(name, given[name], name) for name in stated if name in given]
    if given.get("split_protocol") == "published":
        published = {"split_protocol": "site", "split_seed": PUBLISHED_SEED}
        wanted = [(name, value, "split_protocol") for name, value in published.items()]
        if "split_seed" in given:
            wanted.append(("split_seed", given["split_seed"], "split_seed"))
    for name, value, own in wanted:
        if value != stated[name]:
            raise ValueError(_message(f"its `{name}` is {stated[name]!r}", own, given))
    shares = [name for name in _SHARES if name in given]
    if shares:
        if data.split_protocol != "published":
            data = dataclasses.replace(data, **stated)
        again = make_manifest(dataclasses.replace(data, allow_missing=True))
        same_pairs = set(again.pairs) == set(manifest.pairs)
        if same_pairs and again.sha256 != manifest.sha256:
            raise ValueError(_message("it has other fractions", shares[0], given))


def _message(difference: str, name: str, given: Mapping[str, Any]) -> str:
    return (
        f"A split that exists is used as it is; {difference}, received "
        f"`{name}={given[name]!r}`. Leave this setting out, or use another `workdir` "
        "without `manifest`."
    )
