"""Data sets run without the graph optimizer and without adjusting themselves."""

import ast

import numpy as np
import pytest
import tensorflow as tf

from advance_tf.config import FeatureConfig
from advance_tf.data import make_dataset, scan
from advance_tf.data.pair_files import PairFiles
from advance_tf.features import pipelines
from advance_tf.features.pipelines import (
    TracedLater,
    as_traced,
    keep_small,
    without_autotuning,
)
from tests.imports import PACKAGE, ROOT

# Builds a data set inside of a graph; the graph has no thread that adjusts it.
IN_GRAPHS = {"features/frontend.py"}


def test_functions_are_not_optimized_where_they_are_traced():
    tripled = tf.function(lambda x: x + x + x, [tf.TensorSpec([], tf.float32)])

    def outer(x):
        return tripled(x)

    def is_off(function):
        graph = function.get_concrete_function().graph.as_graph_def()
        calls = [node for node in graph.node if "config_proto" in node.attr]
        configs = [
            tf.compat.v1.ConfigProto.FromString(node.attr["config_proto"].s)
            for node in calls
        ]
        return [
            config.graph_options.rewrite_options.disable_meta_optimizer
            for config in configs
        ]

    signature = [tf.TensorSpec([], tf.float32)]
    with as_traced():
        assert is_off(tf.function(outer, signature)) == [True]
    assert is_off(tf.function(outer, signature)) == [False]


def test_elements_are_those_of_the_data_set():
    dataset = tf.data.Dataset.range(5).map(lambda x: x * x).batch(2)
    fixed = without_autotuning(dataset)
    assert dataset.options().autotune.enabled is None
    assert fixed.options().autotune.enabled is False
    np.testing.assert_array_equal(np.concatenate(list(fixed)), np.arange(5) ** 2)


def test_an_iterator_has_no_thread_that_adjusts_it(fabricated_advance):
    pairs = scan(fabricated_advance).pairs[:2]
    features = FeatureConfig(image_size=32, clip_seconds=1.0)
    dataset = make_dataset(PairFiles(pairs, fabricated_advance, features), 2)
    graph = tf.compat.v1.GraphDef.FromString(
        tf.raw_ops.DatasetToGraphV2(input_dataset=dataset._variant_tensor).numpy()
    )
    options = [node for node in graph.node if node.op == "OptionsDataset"]
    assert len(options) == 1
    assert dataset.options().autotune.enabled is False


def test_every_data_set_of_the_package_is_without_autotuning():
    package, building = ROOT / PACKAGE, set()
    for path in sorted(package.rglob("*.py")):
        names = {
            node.attr
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
            if isinstance(node, ast.Attribute)
        }
        # What makes a pipeline that is iterated: parallel calls, or a generator.
        if names & {"AUTOTUNE", "from_generator"}:
            building.add(path.relative_to(package).as_posix())
    assert building >= {*IN_GRAPHS, "data/dataset.py", "training/frozen.py"}
    for name in sorted(building - IN_GRAPHS):
        source = (package / name).read_text(encoding="utf-8")
        assert source.count("without_autotuning(") >= source.count("AUTOTUNE"), name


@pytest.mark.parametrize(("most_bytes", "times"), [(3 * 2 * 8, 1), (3 * 2 * 8 - 1, 3)])
def test_a_small_data_set_is_computed_once(most_bytes, times):
    computed = []

    def square(number):
        computed.append(int(number))
        return number * number

    dataset = tf.data.Dataset.range(5).map(
        lambda number: tf.ensure_shape(
            tf.numpy_function(square, [number], tf.int64), []
        )
    )
    # Three batches, the first of 16 bytes.
    kept = keep_small(dataset.batch(2), most_bytes)
    # The size is that of a batch that was computed.
    computed.clear()
    for _ in range(3):
        np.testing.assert_array_equal(np.concatenate(list(kept)), np.arange(5) ** 2)
    assert sorted(computed) == sorted([*range(5)] * times)


def test_a_data_set_of_unknown_length_is_computed_in_each_pass():
    dataset = tf.data.Dataset.range(5).filter(lambda number: number > 1)
    assert keep_small(dataset) is dataset


def test_an_empty_data_set_is_empty():
    assert list(keep_small(tf.data.Dataset.range(0))) == []


def test_a_function_is_traced_once_after_some_calls(monkeypatch):
    monkeypatch.setattr(pipelines, "_EAGER_CALLS", 2)
    eager = []

    def square(x):
        eager.append(tf.executing_eagerly())
        with tf.control_dependencies([tf.debugging.assert_less(x, 9.0, "too large")]):
            return x * x

    traced = TracedLater(square, [tf.TensorSpec([], tf.float32)])
    found = [float(traced(tf.constant(x))) for x in (1.0, 2.0, 3.0, 4.0, 5.0)]
    assert found == [1, 4, 9, 16, 25]
    assert eager == [True, True, False]
    with pytest.raises(tf.errors.InvalidArgumentError, match="too large") as caught:
        traced(tf.constant(10.0))
    assert "Graph execution" not in str(caught.value)
