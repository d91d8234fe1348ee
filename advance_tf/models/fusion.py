"""The authors' whole checkpoints → every weight of a recognizer."""

import dataclasses
from collections.abc import Mapping

import numpy as np

from advance_tf import labels
from advance_tf.config import ModelConfig
from advance_tf.models.conversion import (
    Arrays,
    check_keys,
    convert_dense,
    convert_tower,
)
from advance_tf.models.resnet import embedding_size
from advance_tf.models.weights import TowerMetadata, without_head

_TOWERS = {"image": "image_net.", "audio": "audio_net."}
_SCENE_HEAD, _EVENT_HEAD = "fusion_fc", "KD_fc"


@dataclasses.dataclass(frozen=True)
class ConvertedRecognizer:
    """A whole recognizer from a checkpoint.

    Attributes:
        towers: "image" and "audio" → name → array, as in a tower file.
        heads: layer → (kernel, bias); `scene_head` and perhaps an event head.
        model: depths and widths.
        transfer: an objective with this event head, "none" without one.
    """

    towers: Mapping[str, Arrays]
    heads: Mapping[str, tuple[np.ndarray, np.ndarray]]
    model: ModelConfig
    transfer: str


def is_fusion(arrays: Mapping[str, np.ndarray]) -> bool:
    """Whether a checkpoint holds a whole recognizer of the authors."""
    return any(key.startswith(tuple(_TOWERS.values())) for key in arrays)


def convert_fusion(
    arrays: Mapping[str, np.ndarray], where: str, *, scene_order: str = "authors"
) -> ConvertedRecognizer:
    """Converts image_net, audio_net, fusion_fc and KD_fc.

    A classifier `fc` inside a tower is read and left out: the recognizer has
    heads of its own. `KD_fc` on the embedding of the sound makes the model of
    `kl_audio`, on the joined embedding that of `kl_audiovisual`.

    Args:
        arrays: key → array of the checkpoint.
        where: the file, for errors.
        scene_order: of the rows of `fusion_fc`: "authors", as published, or
            "name", as ours.

    Returns:
        The weights with the configuration that they need.

    Raises:
        ValueError: a key is missing, too many or mis-shaped.
    """
    towers, descriptions = {}, {}
    rest = dict(arrays)
    for tower, prefix in _TOWERS.items():
        own = {
            key.removeprefix(prefix): rest.pop(key)
            for key in arrays
            if key.startswith(prefix)
        }
        converted, metadata = convert_tower(own, f"{where} ({prefix}*)")
        _check_tower(tower, metadata, where)
        towers[tower], descriptions[tower] = without_head(converted, metadata)
    model = ModelConfig(
        image_depth=descriptions["image"].depth,
        image_width=descriptions["image"].width,
        audio_depth=descriptions["audio"].depth,
        audio_width=descriptions["audio"].width,
    )
    heard = embedding_size(model.audio_depth, model.audio_width)
    seen = embedding_size(model.image_depth, model.image_width)
    heads, transfer = _convert_heads(rest, heard, heard + seen, where, scene_order)
    return ConvertedRecognizer(towers, heads, model, transfer)


def _check_tower(tower: str, metadata: TowerMetadata, where: str) -> None:
    if metadata.tower != tower:
        raise ValueError(
            f"{_TOWERS[tower]}* of {where} must be an {tower} tower; its first "
            f"convolution is that of an {metadata.tower} tower."
        )


def _convert_heads(rest, heard: int, joined: int, where: str, scene_order: str):
    scenes, events = len(labels.scenes()), len(labels.events())
    shapes = {
        f"{_SCENE_HEAD}.weight": (scenes, joined),
        f"{_SCENE_HEAD}.bias": (scenes,),
    }
    transfer, head = "none", ""
    kernel = rest.get(f"{_EVENT_HEAD}.weight")
    if kernel is not None or f"{_EVENT_HEAD}.bias" in rest:
        on_audio = kernel is not None and kernel.shape[-1] == heard
        transfer = "kl_audio" if on_audio else "kl_audiovisual"
        head = "audio_event_head" if on_audio else "audiovisual_event_head"
        size = heard if on_audio else joined
        shapes[f"{_EVENT_HEAD}.weight"] = (events, size)
        shapes[f"{_EVENT_HEAD}.bias"] = (events,)
    check_keys(rest, shapes, where)
    kernel, bias = convert_dense(rest, _SCENE_HEAD)
    if scene_order == "authors":
        order = [labels.scenes_as_published().index(s) for s in labels.scenes()]
        kernel, bias = kernel[:, order], bias[order]
    heads = {"scene_head": (kernel, bias)}
    if head:
        heads[head] = convert_dense(rest, _EVENT_HEAD)
    return heads, transfer
