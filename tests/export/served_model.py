"""The versions of a SavedModel in TF Serving: names, signatures, errors."""

import pathlib

import numpy as np
import tensorflow as tf
from tensorflow.core.protobuf import saved_model_pb2


class NotServedError(LookupError):
    """The server has no such model or version: NOT_FOUND, 404."""


class BadRequestError(ValueError):
    """The request does not fit the model: INVALID_ARGUMENT, 400."""


class ServedModel:
    """One model with the newest version below its folder."""

    def __init__(self, name: str, export_dir: pathlib.Path):
        self.name = name
        self.version = max(int(p.name) for p in export_dir.iterdir() if p.is_dir())
        folder = export_dir / str(self.version)
        self._loaded = tf.saved_model.load(str(folder))
        saved = saved_model_pb2.SavedModel()
        saved.ParseFromString((folder / "saved_model.pb").read_bytes())
        self.signature_defs = {
            key: definition
            for key, definition in saved.meta_graphs[0].signature_def.items()
            if not key.startswith("__")
        }

    def check_name(self, name: str, version: int | None) -> None:
        """Raises NotServedError for another model or version than the loaded one."""
        if name != self.name or version not in {None, self.version}:
            wanted = f"Latest({name})" if version is None else f"({name}, {version})"
            raise NotServedError(f"Servable not found for request: {wanted}")

    def signature_def(self, signature: str):
        """The definition of a signature; "" is serving_default."""
        key = signature or "serving_default"
        if key not in self.signature_defs:
            raise BadRequestError(
                f'Serving signature key "{key}" not found; has '
                f"{sorted(self.signature_defs)}."
            )
        return self.signature_defs[key]

    def predict(self, signature: str, inputs: dict, wanted=()) -> dict[str, np.ndarray]:
        """The outputs in `wanted` of a signature, or all outputs."""
        definition = self.signature_def(signature)
        if set(inputs) != set(definition.inputs):
            raise BadRequestError(
                f"The inputs must be {sorted(definition.inputs)}; received "
                f"{sorted(inputs)}."
            )
        if unknown := set(wanted) - set(definition.outputs):
            raise BadRequestError(
                f"output tensor alias not found in signature: {sorted(unknown)} "
                f"Outputs expected to be in the set {sorted(definition.outputs)}."
            )
        function = self._loaded.signatures[signature or "serving_default"]
        try:
            tensors = {
                key: tf.constant(value, tf.as_dtype(definition.inputs[key].dtype))
                for key, value in inputs.items()
            }
            outputs = function(**tensors)
        except (tf.errors.InvalidArgumentError, TypeError, ValueError) as error:
            raise BadRequestError(str(error)) from error
        return {key: outputs[key].numpy() for key in wanted or outputs}
