"""Orders of epochs and class weights."""

import numpy as np
import pytest
from sklearn.utils.class_weight import compute_class_weight

from advance_tf.config import TrainingConfig
from advance_tf.data.sampling import (
    TrainingEpochs,
    balanced_class_weights,
    class_rounds,
    epoch_order,
)

# 7, 2, 1 and 11 pairs of four scenes.
SCENES = np.repeat([0, 3, 5, 12], [7, 2, 1, 11])


@pytest.mark.parametrize("balance", [None, SCENES])
def test_the_order_depends_on_seed_and_epoch_alone(balance):
    def draw(seed, epoch):
        return epoch_order(21, seed=seed, epoch=epoch, balance=balance).tolist()

    assert draw(1, 2) == draw(1, 2)
    assert len({tuple(draw(seed, epoch)) for seed in (1, 2) for epoch in (0, 1)}) == 4


def test_without_balance_every_pair_is_drawn_once():
    assert sorted(epoch_order(21, seed=0, epoch=0)) == list(range(21))


def test_balanced_orders_have_as_many_pairs_of_each_scene():
    extra = np.zeros(13)
    for epoch in range(40):
        order = epoch_order(21, seed=0, epoch=epoch, balance=SCENES)
        counts = np.bincount(SCENES[order], minlength=13)
        # 21 = 4 · 5 + 1
        assert sorted(counts[counts > 0]) == [5, 5, 5, 6]
        extra += counts == 6
        for scene in (0, 3, 5, 12):
            uses = np.bincount(order, minlength=21)[scene == SCENES]
            assert uses.max() - uses.min() <= 1
    assert (extra[[0, 3, 5, 12]] > 0).all()


def test_a_fixed_order_is_that_of_every_epoch():
    orders = [epoch_order(21, seed=1, epoch=k, fixed=True).tolist() for k in range(3)]
    assert orders[0] == orders[1] == orders[2] != sorted(orders[0])
    assert sorted(orders[0]) == list(range(21))


def test_epochs_of_a_configuration_draw_the_orders_of_its_sampling():
    for sampling in ("shuffled", "balanced", "fixed"):
        changes = {"augmentation": "none", "keep_last_batch": True}
        config = TrainingConfig(seed=4, sampling=sampling, **changes)
        epochs = TrainingEpochs.of(config, 2)
        assert epochs == TrainingEpochs(4, 2, sampling, **changes)
        balance = SCENES if sampling == "balanced" else None
        expected = epoch_order(
            21, seed=4, epoch=3, balance=balance, fixed=sampling == "fixed"
        )
        np.testing.assert_array_equal(epochs.order(21, 3, SCENES), expected)
    with pytest.raises(ValueError, match="classes must be given for `sampling`"):
        TrainingEpochs(sampling="balanced").order(21, 0)


def test_class_rounds_draw_one_element_of_each_class_in_turn():
    members = [[0, 1, 2], [], [3], [2, 4]]
    drawn = class_rounds(members, 11, seed=2, epoch=1)
    assert len(drawn) == 11
    first = np.zeros(5, int)
    for round_ in drawn[:9].reshape(3, 3):
        (single,) = [k for k in round_ if k == 3]
        assert single == 3
        first += np.bincount(round_, minlength=5)
    # Three rounds draw every element of the first class once.
    assert (first[[0, 1]] == 1).all()
    assert first.sum() == 9
    again = class_rounds(members, 11, seed=2, epoch=1)
    np.testing.assert_array_equal(again, drawn)
    assert (class_rounds(members, 11, seed=2, epoch=2) != drawn).any()


def test_the_pairs_of_a_balanced_order_are_mixed():
    order = epoch_order(21, seed=0, epoch=0, balance=SCENES)
    runs = 1 + np.count_nonzero(np.diff(SCENES[order]))
    assert runs > 8


def test_balanced_class_weights_are_those_of_scikit_learn():
    found = balanced_class_weights(SCENES, 13)
    present = np.unique(SCENES)
    expected = compute_class_weight("balanced", classes=present, y=SCENES)
    np.testing.assert_allclose(found[present], expected)
    assert found.sum() == pytest.approx(expected.sum())
    assert found[SCENES].mean() == pytest.approx(1.0)
