"""Tests of advance_tf.features."""
