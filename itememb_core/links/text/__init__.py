"""Texts that tills print compared with the titles of catalogs: words, n-grams, abbreviations."""
