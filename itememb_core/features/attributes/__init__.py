"""Brands and attributes as vectors: values that enough items have, reduced."""
