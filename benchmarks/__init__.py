"""Benchmarks: speed of advance_tf relative to other libraries."""
