"""Operators of TensorFlow that tf2onnx does not convert by itself."""

from typing import Any

import numpy as np


def register_operators() -> None:
    """Makes tf2onnx convert the complementary error function, of the exact GELU.

        erfc(x) = 1 − erf(x)

    Vision transformers have it. tf2onnx must be installed.
    """
    from tf2onnx import utils
    from tf2onnx.handler import tf_op

    @tf_op("Erfc")
    class _Erfc:
        @classmethod
        def version_9(cls, graph: Any, node: Any, **settings: Any) -> None:
            """Replaces the node; ONNX has `Erf` since version 9 of its operators."""
            del settings
            (x,), outputs = node.input, node.output
            dtype, shape = graph.get_dtype(x), graph.get_shape(x)
            graph.remove_node(node.name)
            one = np.array(1, utils.map_onnx_to_numpy_type(dtype))
            constant = graph.make_const(utils.make_name("one"), one).output[0]
            erf = graph.make_node("Erf", [x], shapes=[shape], dtypes=[dtype])
            graph.make_node(
                "Sub",
                [constant, erf.output[0]],
                outputs=outputs,
                shapes=[shape],
                dtypes=[dtype],
            )
