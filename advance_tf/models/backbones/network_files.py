"""Files of networks that map one image or waveform to a vector, without their code."""

import abc
import functools
import glob
import pathlib
import threading
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from advance_tf.extras import check_extra

Shape = tuple[int | None, ...]
# The signature that a file with several of them has for those who name none.
DEFAULT_SIGNATURE = "serving_default"


class _SignatureError(ValueError):
    """The choice of a signature is wrong or not clear; the file is not damaged."""


def _choose_signature(path: pathlib.Path, names: Collection[str], chosen: str) -> str:
    """The signature of a name, else the only one or the default one."""
    default = next(iter(names)) if len(names) == 1 else DEFAULT_SIGNATURE
    if (chosen or default) in names:
        return chosen or default
    received = repr(chosen) if chosen else "none"
    if not names:
        raise _SignatureError(
            f"signature must be left out for {path}, which has none; received "
            f"{received}. Remove the option."
        )
    raise _SignatureError(
        f"signature must be one of {', '.join(sorted(names))} for {path}; received "
        f"{received}. Choose one with `file:<path>,signature=<name>`."
    )


class NetworkFile(abc.ABC):
    """A network with one input, in a file that is not one of Keras.

    Attributes:
        input_shape: shape of the input, None for any size; the first axis is the
            batch if `is_batched`.
        outputs: names of the outputs.
        in_graph: whether `compute` is part of a TensorFlow graph; otherwise it runs
            on NumPy arrays.
    """

    input_shape: Shape
    outputs: Sequence[str]
    in_graph: bool = False

    @abc.abstractmethod
    def compute(self, inputs: Any, output: str) -> Any:
        """Computes an output.

        Args:
            inputs: float32, of `input_shape`.
            output: one of `outputs`.

        Returns:
            float32, as the file computes it.
        """


def _cast(inputs: np.ndarray, dtype: type) -> np.ndarray:
    """Converts inputs to the type of a network, rounded where it is an integer."""
    if np.issubdtype(dtype, np.integer):
        inputs = np.rint(inputs)
    return inputs.astype(dtype)


class SavedModelFile(NetworkFile):
    """A folder of TensorFlow; its variables become constants of the graph."""

    in_graph = True

    def __init__(self, path: pathlib.Path, signature: str = "") -> None:
        from tensorflow.python.framework import convert_to_constants

        # The variables live as long as the object.
        loaded = tf.saved_model.load(str(path))
        signatures = loaded.signatures
        if not signatures:
            raise ValueError("it has no signature; save it with one")
        name = _choose_signature(path, signatures, signature)
        function = signatures[name]
        given = list(function.structured_input_signature[1].values())
        if len(given) != 1:
            raise ValueError(f"its signature {name} has {len(given)} inputs, not one")
        self.input_shape = tuple(given[0].shape)
        self._dtype = given[0].dtype
        self.outputs = sorted(function.structured_outputs)
        self._function = convert_to_constants.convert_variables_to_constants_v2(
            function
        )

    def compute(self, inputs: tf.Tensor, output: str) -> tf.Tensor:
        """Computes an output as a part of the graph."""
        # A cast alone would cut off the fractions that resizing leaves.
        inputs = tf.round(inputs) if self._dtype.is_integer else inputs
        found = tf.nest.flatten(self._function(tf.cast(inputs, self._dtype)))
        return tf.cast(found[self.outputs.index(output)], tf.float32)


class LiteRTFile(NetworkFile):
    """A `.tflite` file. Integer inputs and outputs are converted by their scales."""

    def __init__(self, path: pathlib.Path, signature: str = "") -> None:
        from ai_edge_litert.interpreter import Interpreter

        self._interpreter = Interpreter(str(path))
        self._lock = threading.Lock()
        self._runner: Any = None
        signatures = self._interpreter.get_signature_list()
        if signatures or signature:
            # Its names are those that a person chose.
            name = _choose_signature(path, signatures, signature)
            self._runner = self._interpreter.get_signature_runner(name)
            inputs = dict(self._runner.get_input_details())
            self._outputs = dict(self._runner.get_output_details())
        else:
            inputs = {
                each["name"]: each for each in self._interpreter.get_input_details()
            }
            details = self._interpreter.get_output_details()
            self._outputs = {detail["name"]: detail for detail in details}
        if len(inputs) != 1:
            raise ValueError(f"it has {len(inputs)} inputs, not one")
        ((self._input_name, self._input),) = inputs.items()
        shape = self._input["shape_signature"].tolist()
        self.input_shape = tuple(None if size < 0 else size for size in shape)
        self.outputs = sorted(self._outputs)
        self._shape: tuple[int, ...] = ()

    def compute(self, inputs: np.ndarray, output: str) -> np.ndarray:
        """Computes an output."""
        scale, zero = self._input["quantization"]
        dtype = self._input["dtype"]
        if scale:
            limits = np.iinfo(dtype)
            inputs = np.clip(inputs / scale + zero, limits.min, limits.max)
        inputs = _cast(inputs, dtype)
        with self._lock:
            if self._runner is not None:
                found = self._runner(**{self._input_name: inputs})[output]
            else:
                found = self._invoke(inputs, output)
        found = found.astype(np.float32)
        scale, zero = self._outputs[output]["quantization"]
        return (found - np.float32(zero)) * np.float32(scale) if scale else found

    def _invoke(self, inputs: np.ndarray, output: str) -> np.ndarray:
        """The output of a file without signatures."""
        interpreter, index = self._interpreter, self._input["index"]
        if inputs.shape != self._shape:
            if None in self.input_shape:
                interpreter.resize_tensor_input(index, inputs.shape)
            interpreter.allocate_tensors()
            self._shape = inputs.shape
        interpreter.set_tensor(index, inputs)
        interpreter.invoke()
        found: np.ndarray = interpreter.get_tensor(self._outputs[output]["index"])
        return found


class OnnxFile(NetworkFile):
    """An `.onnx` file, run by ONNX Runtime."""

    def __init__(self, path: pathlib.Path, signature: str = "") -> None:
        check_extra("onnx", "onnxruntime")
        import onnxruntime

        if signature:
            _choose_signature(path, (), signature)
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 3
        self._session = onnxruntime.InferenceSession(
            str(path), options, providers=["CPUExecutionProvider"]
        )
        inputs = self._session.get_inputs()
        if len(inputs) != 1:
            raise ValueError(f"it has {len(inputs)} inputs, not one")
        self._input = inputs[0].name
        kinds: dict[str, type] = {
            "tensor(float)": np.float32,
            "tensor(float16)": np.float16,
        }
        kinds |= {"tensor(uint8)": np.uint8, "tensor(double)": np.float64}
        if inputs[0].type not in kinds:
            raise ValueError(f"its input is of the type {inputs[0].type}")
        self._dtype = kinds[inputs[0].type]
        # An axis of any size has a name or None.
        self.input_shape = tuple(
            size if isinstance(size, int) else None for size in inputs[0].shape
        )
        self.outputs = [output.name for output in self._session.get_outputs()]

    def compute(self, inputs: np.ndarray, output: str) -> np.ndarray:
        """Computes an output."""
        (found,) = self._session.run(
            [output], {self._input: _cast(inputs, self._dtype)}
        )
        return np.asarray(found, np.float32)


FORMATS: Mapping[str, Callable[[pathlib.Path, str], NetworkFile]] = {
    "": SavedModelFile,
    ".tflite": LiteRTFile,
    ".onnx": OnnxFile,
}


def open_network(path: pathlib.Path, signature: str = "") -> NetworkFile:
    """Opens a file, once in a process as long as it does not change.

    Args:
        path: a `.tflite` or `.onnx` file, or the folder of a SavedModel.
        signature: name of a signature of the file; "" for its only one, or for
            "serving_default" of several.

    Returns:
        The network.

    Raises:
        ValueError: the file is damaged, has more than one input, or lacks the
            signature, or the signature is not named and not clear.
        ImportError: ONNX Runtime is not installed.
    """
    kind = "" if path.is_dir() else path.suffix
    files = [path / "saved_model.pb"] if path.is_dir() else network_paths(path)
    changed = tuple(file.stat().st_mtime_ns for file in files)
    return _open(path.absolute(), kind, signature, changed)


def network_paths(path: pathlib.Path) -> list[pathlib.Path]:
    """The files of a network: its own, and of ONNX those of weights beside it.

    PyTorch and ONNX name them so. They are written for large models, and by
    `torch.onnx.export` for all.

    Args:
        path: a file, or the folder of a SavedModel.

    Returns:
        `path`, then the files of weights by name.
    """
    if path.suffix != ".onnx":
        return [path]
    name = glob.escape(path.name)
    return [path, *sorted(path.parent.glob(f"{name}[._]data"))]


@functools.lru_cache(maxsize=4)
def _open(
    path: pathlib.Path, kind: str, signature: str, changed: tuple[int, ...]
) -> NetworkFile:
    del changed
    try:
        return FORMATS[kind](path, signature)
    except (ImportError, _SignatureError):
        raise
    except Exception as error:  # Each of the libraries has its own.
        reason = (str(error) or type(error).__name__).splitlines()[0]
        raise ValueError(
            f"{path} must be a network with one input and named outputs; reading it "
            f"failed: {reason}. Export it again."
        ) from error
