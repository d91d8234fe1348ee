"""An exported SavedModel has only operators that TensorFlow 2.20 has."""

import pathlib

from tensorflow.core.protobuf import saved_model_pb2

# The operators of the graph; TensorFlow 2.20.0, of which TF Serving has an image,
# defines all of them in its modules gen_*_ops. To add a name, look for it there.
OPERATORS = pathlib.Path(__file__).with_name("operators_2_20.txt")


def operators(folder):
    """The operators of the graph and the functions of a SavedModel."""
    saved = saved_model_pb2.SavedModel()
    saved.ParseFromString((folder / "saved_model.pb").read_bytes())
    names = set()
    for meta_graph in saved.meta_graphs:
        graph = meta_graph.graph_def
        own = {function.signature.name for function in graph.library.function}
        nodes = [*graph.node]
        for function in graph.library.function:
            nodes += function.node_def
        names |= {node.op for node in nodes} - own
    return names


def test_every_operator_is_in_tensorflow_2_20(exported):
    found = operators(exported / "1")
    assert {"Conv2D", "DecodePng", "RFFT"} <= found
    assert found <= set(OPERATORS.read_text().split())
