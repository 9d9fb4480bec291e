"""Judging item vectors: later baskets, next baskets, what goes with what, categories."""
