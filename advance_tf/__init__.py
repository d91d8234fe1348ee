"""Recognises aerial scenes by looking and listening (ECCV 2020, ADVANCE)."""

__version__ = "0.1.0"
