"""Part of advance_tf: training."""
