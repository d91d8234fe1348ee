"""Export to SavedModel, LiteRT and ONNX, compared with the model in memory."""

import lazy_loader as _lazy

__getattr__, __dir__, __all__ = _lazy.attach_stub(__name__, __file__)
