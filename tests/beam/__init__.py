"""Tests of the pipelines of Apache Beam, in an environment of their own."""
