"""Part of advance_tf: teacher."""
