"""Nearest neighbours over arrays: exact, inverted lists, CSLS, and their recall."""
