"""Tests of advance_tf: studies."""
