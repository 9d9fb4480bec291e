"""Vectors of items without interactions, from what is known of them; and of rare ones."""
