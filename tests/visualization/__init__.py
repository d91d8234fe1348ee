"""Tests of advance_tf: visualization."""
