"""Part of advance_tf: serving."""
