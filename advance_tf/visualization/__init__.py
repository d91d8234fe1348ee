"""Part of advance_tf: visualization."""
