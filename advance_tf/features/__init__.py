"""Part of advance_tf: features."""
