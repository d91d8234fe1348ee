"""Part of advance_tf: studies."""
