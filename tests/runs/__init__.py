"""Tests of advance_tf.runs."""
