"""Teachers that score sound events, and the event knowledge computed with them.

YAMNet or an audio tower labels every clip; soft labels, posteriors p(e|s_k) and
relevance vectors d_k are computed once and stored.
"""

import lazy_loader as _lazy

__getattr__, __dir__, __all__ = _lazy.attach_stub(__name__, __file__)
