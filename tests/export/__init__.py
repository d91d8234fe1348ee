"""Tests of export/: what runs beside an exported model without advance_tf."""
