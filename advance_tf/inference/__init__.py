"""Predictions of a run, a SavedModel, a LiteRT or an ONNX file, and evaluation."""

import lazy_loader as _lazy

__getattr__, __dir__, __all__ = _lazy.attach_stub(__name__, __file__)
