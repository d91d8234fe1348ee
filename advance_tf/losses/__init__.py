"""Part of advance_tf: losses."""
