"""Part of advance_tf: models."""
