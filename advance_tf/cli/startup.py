"""Loads TensorFlow and LiteRT, quickly and without their messages at the start."""

import contextlib
import gc
import importlib.util
import os
import sys
import tempfile
from collections.abc import Iterator
from types import ModuleType

_LEVEL = "TF_CPP_MIN_LOG_LEVEL"
_OPTIONAL = ("IPython", "matplotlib", "pandas", "scipy", "sklearn")


def load_tensorflow(*, litert: bool = False) -> None:
    """Imports TensorFlow and lists the devices; writes nothing unless that fails.

    The C++ code of TensorFlow writes some messages before a log level applies, and
    an error on a machine without a GPU. They go to file descriptor 2, which is
    redirected here; later errors of the C++ code are written. With
    TF_CPP_MIN_LOG_LEVEL of 0 or 1 nothing is redirected.

    Args:
        litert: whether the command runs LiteRT files.
    """
    # Level 2: errors only.
    if os.environ.setdefault(_LEVEL, "2") in {"0", "1"}:
        _import_tensorflow()
        return
    with withheld_stderr():
        tf = _import_tensorflow()
        tf.config.list_physical_devices()
        if litert and importlib.util.find_spec("ai_edge_litert"):
            _load_litert()


def _import_tensorflow() -> ModuleType:
    with _hidden_modules(), _without_collections():
        import tensorflow

    module: ModuleType = tensorflow
    return module


def _load_litert() -> None:
    """Creates an interpreter for one operation: the first one of a process logs."""
    import flatbuffers
    from ai_edge_litert import schema_py_generated as schema
    from ai_edge_litert.interpreter import Interpreter

    model, graph = schema.ModelT(), schema.SubGraphT()
    operator, code = schema.OperatorT(), schema.OperatorCodeT()
    graph.tensors = [schema.TensorT(), schema.TensorT()]
    for tensor in graph.tensors:
        tensor.shape, tensor.type = [1], schema.TensorType.FLOAT32
    code.builtinCode = code.deprecatedBuiltinCode = schema.BuiltinOperator.ABS
    graph.inputs = operator.inputs = [0]
    graph.outputs = operator.outputs = [1]
    graph.operators = [operator]
    model.version, model.operatorCodes, model.subgraphs = 3, [code], [graph]
    model.buffers = [schema.BufferT()]
    builder = flatbuffers.Builder()
    builder.Finish(model.Pack(builder), b"TFL3")
    Interpreter(model_content=bytes(builder.Output())).allocate_tensors()


@contextlib.contextmanager
def _hidden_modules() -> Iterator[None]:
    """Hides optional dependencies of Keras and TensorFlow while they are imported.

    They import these packages if they are installed, which takes a second, for
    functions that no command uses. Modules that are imported later find them.
    """
    hidden = [name for name in _OPTIONAL if name not in sys.modules]
    # The import of a name whose module is None fails as if it were not installed.
    sys.modules.update(dict.fromkeys(hidden))  # type: ignore[arg-type]
    try:
        yield
    finally:
        for name in hidden:
            del sys.modules[name]


@contextlib.contextmanager
def _without_collections() -> Iterator[None]:
    """Excludes what the block creates from garbage collections, also at the exit.

    The objects of imported modules stay until the process ends; each collection would
    traverse hundreds of thousands of them.
    """
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()


@contextlib.contextmanager
def withheld_stderr() -> Iterator[None]:
    """Withholds the output of the block to file descriptor 2.

    Yields:
        Nothing. When the block raises, the output is written.
    """
    if sys.stderr is not None:
        sys.stderr.flush()
    try:
        kept = os.dup(2)
    except OSError:
        # The process has no standard error.
        yield
        return
    with tempfile.TemporaryFile() as withheld:
        os.dup2(withheld.fileno(), 2)
        failed = True
        try:
            yield
            failed = False
        finally:
            if sys.stderr is not None:
                sys.stderr.flush()
            os.dup2(kept, 2)
            os.close(kept)
            if failed:
                withheld.seek(0)
                os.write(2, withheld.read())
