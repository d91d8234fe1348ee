"""Mutated files for every decoder and every reader."""
