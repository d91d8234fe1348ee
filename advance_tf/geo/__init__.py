"""Geography: recordings, imagery and OpenStreetMap become a data set; results a map."""

import lazy_loader as _lazy

__getattr__, __dir__, __all__ = _lazy.attach_stub(__name__, __file__)
