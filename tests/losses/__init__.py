"""Tests of advance_tf.losses."""
