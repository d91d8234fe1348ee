"""Ratios against a peer, measured in one run each."""
