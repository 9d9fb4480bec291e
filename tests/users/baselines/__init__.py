"""Tests of the baselines of the user model."""
