"""Tests of advance_tf.training."""
