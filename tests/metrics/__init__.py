"""Tests of advance_tf.metrics."""
