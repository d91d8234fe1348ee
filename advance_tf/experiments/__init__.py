"""Experiments: studies of many runs, repeated splits, paper tables, grid search."""

import lazy_loader as _lazy

__getattr__, __dir__, __all__ = _lazy.attach_stub(__name__, __file__)
