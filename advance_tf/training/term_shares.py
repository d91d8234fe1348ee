"""The share of each loss term in the gradients, measured once an epoch."""

import logging
from collections.abc import Iterable, Mapping

import keras
import tensorflow as tf

from advance_tf.config import TransferConfig
from advance_tf.losses.objective import Term
from advance_tf.models.heads import embedding_model, heads_model, with_mask

TOWER_LAYERS = ("image_tower", "audio_tower")
SCENE_LOGITS = "scene_logits"
# A term with less than this share has no measurable effect.
LEAST_SHARE = 1e-3
# Pairs of the batch on which a run measures the shares.
SHARE_PAIRS = 16
# float16 rounds gradients below 6e-8 to zero; the shares do not depend on a factor.
_SCALE = 1024.0
_log = logging.getLogger(__name__)

Tensors = Mapping[str, tf.Tensor]
Shares = dict[str, dict[str, float]]


def gradient_norms(
    heads: keras.Model,
    objective: Mapping[str, Term],
    embeddings: Tensors,
    targets: Tensors,
) -> dict[str, tf.Tensor]:
    """Computes ‖∂(w L)/∂z‖ of each weighted term, up to a common factor.

    z are the scene logits, and the embedding of each tower: a tower has no other
    gradient than the one that reaches it through its embedding.

    Args:
        heads: a model of "image" and "audio" [B, D] → named outputs.
        objective: term name → `Term`.
        embeddings: of the image and the audio tower, float [B, D].
        targets: target name → tensor [B, ...].

    Returns:
        Term name → norms, float32 [3]: at the scene logits, the image embedding and
        the audio embedding; 0 where the term has no gradient.
    """
    of_towers = [embeddings[name.removesuffix("_tower")] for name in TOWER_LAYERS]
    with tf.GradientTape(persistent=True) as tape:
        tape.watch(of_towers)
        outputs = heads(with_mask(heads, embeddings), training=False)
        losses = {
            name: _SCALE
            * term.weight
            * term.loss(targets[term.target], outputs[term.output])
            for name, term in objective.items()
        }
    places = [outputs[SCENE_LOGITS], *of_towers]
    return {
        name: tf.stack(
            [
                tf.norm(tf.cast(gradient, tf.float32))
                for gradient in tape.gradient(
                    loss, places, unconnected_gradients=tf.UnconnectedGradients.ZERO
                )
            ]
        )
        for name, loss in losses.items()
    }


def shares(norms: Mapping[str, Iterable[float]]) -> Shares:
    """Divides the norms of the terms by their sum at each place.

    Args:
        norms: term name → norms as of `gradient_norms`, three numbers.

    Returns:
        Term name → place ("scene_logits", "image_tower", "audio_tower") → share in
        [0, 1], 0 where the term has no gradient. The shares at a place sum to 1,
        unless no term has a gradient there.

    >>> shares({"scene": [3.0, 1.0, 0.0], "transfer": [0.0, 3.0, 0.0]})["transfer"]
    {'scene_logits': 0.0, 'image_tower': 0.75, 'audio_tower': 0.0}
    """
    values = {name: [float(value) for value in row] for name, row in norms.items()}
    totals = [sum(column) for column in zip(*values.values(), strict=True)]
    return {
        name: {
            place: value / total if total else 0.0
            for place, value, total in zip(
                (SCENE_LOGITS, *TOWER_LAYERS), row, totals, strict=True
            )
        }
        for name, row in values.items()
    }


class TermShares(keras.callbacks.Callback):
    """Logs value, weight and gradient share of each term after each epoch.

    The logs of a term NAME are `NAME_value` (the loss without its weight, mean over
    the epoch), `NAME_weight`, and `NAME_share_PLACE`: the norm of its weighted
    gradient divided by the sum of the norms of all terms, at the scene logits and at
    the embedding of each tower that is trained. The shares are measured on one fixed
    batch in inference mode: one forward pass, and gradients through the heads alone.

    Once in a run, a warning names each term whose share is below a thousandth at a
    place that it reaches, and each term that reaches none of them.

    Args:
        model: a recognizer of `build_recognizer`.
        objective: term name → `Term`.
        batch: (inputs, targets) of training pairs, not augmented.
        transfer: names `alpha` and `beta` in the warning.
        towers: names of the towers that are trained.
        warn: whether to warn after the first epoch.
    """

    def __init__(
        self,
        model: keras.Model,
        objective: Mapping[str, Term],
        batch: tuple[Tensors, Tensors],
        transfer: TransferConfig,
        *,
        towers: Iterable[str] = TOWER_LAYERS,
        warn: bool = True,
    ) -> None:
        super().__init__()
        self.objective = dict(objective)
        self.inputs, self.targets = batch
        self.transfer = transfer
        self.places = (SCENE_LOGITS, *towers)
        self.warn = warn
        embed = embedding_model(model)
        heads = heads_model(model)

        @tf.function
        def norms(inputs: Tensors, targets: Tensors) -> dict[str, tf.Tensor]:
            # [B, image embedding] and [B, audio embedding]
            embeddings = embed(inputs, training=False)
            return gradient_norms(heads, self.objective, embeddings, targets)

        self._norms = norms

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        """Adds value, weight and shares to `logs`."""
        if logs is None:
            return
        norms = self._norms(self.inputs, self.targets)
        measured = shares({name: values.numpy() for name, values in norms.items()})
        for name, term in self.objective.items():
            if f"{name}_loss" in logs:
                logs[f"{name}_value"] = logs[f"{name}_loss"] / term.weight
            logs[f"{name}_weight"] = term.weight
            for place in self.places:
                logs[f"{name}_share_{place}"] = measured[name][place]
        if self.warn:
            self.warn = False
            for text in weak_terms(measured, self.places, self.transfer):
                _log.warning("%s", text)


def weak_terms(
    measured: Shares, places: Iterable[str], transfer: TransferConfig
) -> list[str]:
    """Describes the terms that have almost no part in a gradient.

    Args:
        measured: as returned by `shares`.
        places: names of places in `measured`.
        transfer: the weights that a remedy names.

    Returns:
        A sentence or two for each term with a share between 0 and `LEAST_SHARE` at a
        place, or without a gradient at all of them.

    >>> measured = {
    ...     "scene": {"scene_logits": 0.99993},
    ...     "event_kl": {"scene_logits": 7e-5},
    ... }
    >>> (text,) = weak_terms(measured, ["scene_logits"], TransferConfig(alpha=0.001))
    >>> text[:64]
    'event_kl has 7e-05 of the gradient norm at scene_logits, less th'
    """
    texts = []
    places = list(places)
    for name, of_term in measured.items():
        reached = {place: of_term[place] for place in places if of_term[place] > 0}
        if not reached:
            texts.append(
                f"{name} has no gradient at {', '.join(places)}: it trains its own "
                "head only and does not change the scenes. Train a tower, at least in "
                "part, or choose `transfer=event`."
            )
            continue
        place, share = min(reached.items(), key=lambda item: item[1])
        if share < LEAST_SHARE:
            texts.append(
                f"{name} has {share:.1g} of the gradient norm at {place}, less than "
                f"{LEAST_SHARE:g}, with {_weights(name, transfer)}: it has no "
                f"measurable effect there. {_remedy(name, transfer)}"
            )
    return texts


# Terms of a distillation → the setting with their weight.
_TEACHER_WEIGHTS = {
    "soft_scene": "soft_scene_weight",
    "image_match": "embedding_weight",
    "audio_match": "embedding_weight",
}


def _weights(name: str, transfer: TransferConfig) -> str:
    if name in _TEACHER_WEIGHTS:
        return f"the `{_TEACHER_WEIGHTS[name]}` of the run"
    weights = f"`alpha={transfer.alpha:g}`"
    if name == "relevance":
        weights += f" and `beta={transfer.beta:g}`"
    return weights


def _remedy(name: str, transfer: TransferConfig) -> str:
    if name == "scene":
        return "Lower `alpha`, or search it with `advance reproduce`."
    if name in _TEACHER_WEIGHTS:
        return f"Raise `{_TEACHER_WEIGHTS[name]}`, or set it to 0."
    if name == "relevance":
        return "Raise `beta`, or set `beta=0`."
    if transfer.event_reduction == "mean":
        return "Raise `alpha`, or set `event_reduction=sum`."
    return "Raise `alpha`, or search it with `advance reproduce`."
