"""Tests of advance_tf.serving."""
