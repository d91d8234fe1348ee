"""Tests of advance_tf.inference."""
