"""Titles, receipt texts and given vectors, reduced to an image and a text block."""
