"""Tests of advance_tf.models."""
