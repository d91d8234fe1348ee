"""A split is compared block by block, and a model without quantization runs once."""

import numpy as np

from advance_tf.serving import agreement, parity
from tests.serving.factories import create_run

PAIRS, SCENES = 7, 3


class CountedModel:
    """Probabilities from the first level of an image; counts the pairs of each call."""

    signatures = ("image_only", "recognize")

    def __init__(self, shift=0):
        self.shift, self.calls = shift, []

    def probs(self, decoded, signature):
        self.calls.append(len(decoded.image))
        first = (decoded.image[:, 0, 0, 0] + self.shift) % SCENES
        # The model that is not shifted rejects the scene 0, the other one nothing.
        flags = np.zeros((len(first), 2), np.float32)
        flags[:, 1] = (first == 0) & (self.shift == 0)
        scenes = np.eye(SCENES, dtype=np.float32)[first]
        return {"scene_probs": scenes, "reason_flags": flags}


def blocks(sizes, made=None):
    numbers = np.arange(sum(sizes), dtype=np.uint8)
    start = 0
    for size in sizes:
        own = numbers[start : start + size].reshape(-1, 1, 1, 1)
        start += size
        if made is not None:
            made.append(size)
        yield parity.Decoded(own, np.zeros((size, 1), np.float32))


def test_blocks_give_the_figures_of_all_pairs_at_once():
    true = np.arange(PAIRS) % SCENES
    models = CountedModel(), CountedModel(shift=1)
    whole = agreement.measure(*models, blocks([PAIRS]), true)
    assert agreement.measure(*models, blocks([3, 3, 1]), true) == whole
    assert whole["signatures"]["recognize"]["agreement"] == 0
    assert whole["signatures"]["recognize"]["largest_difference"] == 1
    assert whole["signatures"]["recognize"]["weighted_f_float32"] == 1
    # The scenes of the seven pairs are 0, 1, 2, 0, 1, 2, 0.
    assert whole["signatures"]["recognize"]["unknown_float32"] == 3 / 7
    assert whole["signatures"]["recognize"]["unknown"] == 0
    assert whole["signatures"]["recognize"]["equal_answers"] == 0


def test_one_block_is_in_memory():
    made = []

    class Lazy(CountedModel):
        def probs(self, decoded, signature):
            # No block is decoded before the one before it was predicted.
            assert len(made) == len(self.calls) // len(self.signatures) + 1
            return super().probs(decoded, signature)

    model = Lazy()
    agreement.measure(model, model, blocks([2, 2, 2], made), np.arange(6) % SCENES)
    assert model.calls == [2] * 6


def test_a_model_without_quantization_runs_once():
    model = CountedModel()
    figures = agreement.measure(model, model, blocks([4, 3]), np.arange(7) % SCENES)
    assert model.calls == [4, 4, 3, 3]
    assert figures["signatures"]["recognize"]["agreement"] == 1
    assert figures["signatures"]["recognize"]["largest_difference"] == 0
    assert figures["signatures"]["recognize"]["unknown"] == 3 / 7
    assert figures["signatures"]["recognize"]["equal_answers"] == 1


def test_the_pairs_of_a_split_are_read_block_by_block(tmp_path, monkeypatch):
    run = create_run(tmp_path)
    pairs = parity.EncodedPairs(run)
    read = []
    original = pairs._read
    monkeypatch.setattr(
        pairs, "_read", lambda pair: read.append(pair) or original(pair)
    )
    found = pairs.blocks("test", 5)
    first = next(found)
    assert (len(first), len(read)) == (5, 5)
    rest = [pair for block in found for pair in block]
    expected = run.pairs_of("test")
    assert read == list(expected)
    assert len(first + rest) == len(expected) == len(pairs.scenes("test"))
    contents = (run.data_dir / expected[-1].image).read_bytes()
    assert rest[-1].image == contents
