"""Metrics of scene and event predictions.

Scores of scenes and of event tagging, bootstrap intervals over sites, calibration,
evaluations of a split and comparisons of methods over several runs.
"""

import lazy_loader as _lazy

__getattr__, __dir__, __all__ = _lazy.attach_stub(__name__, __file__)
