"""Part of advance_tf: metrics."""
