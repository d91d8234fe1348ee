"""Tests of advance_tf, in the folders of the package."""
