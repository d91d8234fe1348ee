"""Tests of advance_tf.cli."""
