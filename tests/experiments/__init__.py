"""Tests of advance_tf.experiments."""
