"""Tests of items/training."""
