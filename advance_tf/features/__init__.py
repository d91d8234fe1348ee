"""Features: decoding of WAV files and images, resampling, log-mel and the front end."""

import lazy_loader as _lazy

__getattr__, __dir__, __all__ = _lazy.attach_stub(__name__, __file__)
