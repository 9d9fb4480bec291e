"""Worlds that tests run on, with what is known of them."""
