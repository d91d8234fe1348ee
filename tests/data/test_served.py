"""Batches of a tf.data service equal those of the process, whatever its workers."""

import numpy as np
import pytest
import tensorflow as tf

from advance_tf.data import served
from advance_tf.data.dataset import make_dataset
from advance_tf.data.pair_files import PairFiles
from advance_tf.data.sampling import TrainingEpochs
from tests.processes import free_ports
from tests.training import factories

BATCH = 8


@pytest.fixture(scope="module")
def pairs(fabricated_advance):
    return factories.build_manifest(fabricated_advance).pairs_of("training")


def arrays(batches):
    """Inputs and targets of each batch by name."""
    return [
        {name: value.numpy() for part in batch for name, value in part.items()}
        for batch in batches
    ]


def close(found, expected, name):
    """Equal but for float32's rounding, which may differ between graphs."""
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-5, err_msg=name)


def options(pairs, **changes):
    rng = np.random.default_rng(0)
    logits = rng.normal(size=(len(pairs), 5)).astype(np.float32)
    return {"targets": {"logits": logits}, **changes}


@pytest.mark.parametrize(
    ("workers", "changes"),
    [
        (1, {"share": (0, 2)}),
        (2, {"training": TrainingEpochs(3, first_epoch=1), "share": (1, 2)}),
    ],
)
def test_batches_equal_those_of_this_process(
    fabricated_advance, pairs, workers, changes
):
    service = tf.data.experimental.service
    dispatcher = service.DispatchServer()
    address = dispatcher.target.partition("://")[2]
    # The servers stop when they are deleted.
    servers = [
        service.WorkerServer(service.WorkerConfig(dispatcher_address=address))
        for _ in range(workers)
    ]
    given = (PairFiles(pairs, fabricated_advance, factories.FEATURES), BATCH)
    expected = make_dataset(*given, **options(pairs, **changes))
    found = served.ServedBatches(dispatcher.target, *given, **options(pairs, **changes))
    # Two epochs, whose orders differ in training.
    for _ in range(2):
        passes = arrays(found), arrays(expected)
        assert len(passes[0]) == len(passes[1]) > 1
        for batch, own in zip(*passes, strict=True):
            assert batch.keys() == own.keys()
            for name, value in own.items():
                close(batch[name], value, name)
    del servers, dispatcher


def test_a_worker_that_ends_is_an_error(fabricated_advance, pairs, monkeypatch):
    service = tf.data.experimental.service
    dispatcher = service.DispatchServer()
    address = dispatcher.target.partition("://")[2]
    ports = free_ports(2)
    configs = [
        service.WorkerConfig(address, f"localhost:{port}", port) for port in ports
    ]
    servers = [service.WorkerServer(config) for config in configs]
    # Enough batches that each worker has some left.
    given = (PairFiles(pairs * 20, fabricated_advance, factories.FEATURES), 1)
    batches = iter(served.ServedBatches(dispatcher.target, *given))
    next(batches)
    servers[0].stop()
    monkeypatch.setattr(served, "_BATCH_SECONDS", 2)
    with pytest.raises(ValueError, match="2 seconds.* one of its workers has"):
        list(batches)
    # The thread that waits for the worker ends when it is back.
    servers[0] = service.WorkerServer(configs[0])


def test_a_share_has_its_rows_of_every_batch(fabricated_advance, pairs):
    given = (PairFiles(pairs, fabricated_advance, factories.FEATURES), BATCH)
    whole, *parts = (
        arrays(make_dataset(*given, training=TrainingEpochs(3), share=share))
        for share in [(0, 1), (0, 2), (1, 2)]
    )
    assert len(whole) == len(pairs) // BATCH
    for batch, first, second in zip(whole, *parts, strict=True):
        for name, value in batch.items():
            joined = np.concatenate([first[name], second[name]])
            close(joined, value, name)


def test_a_dispatcher_must_respond(pairs, fabricated_advance):
    files = PairFiles(pairs, fabricated_advance, factories.FEATURES)
    with pytest.raises(ValueError, match=r"does not respond .*Start it with"):
        served.ServedBatches("grpc://localhost:1", files, BATCH)
