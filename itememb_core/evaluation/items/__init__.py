"""Evaluation of item vectors: holdout baskets, next baskets, goes-with pairs, category probes."""
