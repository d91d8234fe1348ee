"""Runs: the work directory of a training, its preparation and its loading."""

import lazy_loader as _lazy

__getattr__, __dir__, __all__ = _lazy.attach_stub(__name__, __file__)
