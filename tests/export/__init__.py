"""Tests of export/, the files for the use of an exported model."""
