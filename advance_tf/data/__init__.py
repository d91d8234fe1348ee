"""Part of advance_tf: data."""
