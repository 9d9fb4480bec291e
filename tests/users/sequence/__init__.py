"""Tests of the sequence model."""
