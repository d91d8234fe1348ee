"""Backbones of the towers by name: ResNets, YAMNet, Keras', KerasHub's, files."""

import lazy_loader as _lazy

__getattr__, __dir__, __all__ = _lazy.attach_stub(__name__, __file__)
