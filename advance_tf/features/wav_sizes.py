"""Sizes in the headers of WAV files; without TensorFlow, which `prepare` does not load.

`export/edge/edge_inputs.py` has the same sizes; a test compares them.
"""

# Encoders that write to a pipe do not know the size and write one of these.
UNKNOWN_SIZES = (0xFFFFFFFF, 0x7FFFFFFF, 0x7FFFF000, 0x7FFFFFF0)
