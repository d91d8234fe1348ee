"""Predictions of a run, a SavedModel or a LiteRT file, and evaluation of a run."""

import lazy_loader as _lazy

__getattr__, __dir__, __all__ = _lazy.attach_stub(__name__, __file__)
