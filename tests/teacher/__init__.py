"""Tests of advance_tf.teacher."""
