"""Tests of the schemas: what columns mean, and that files do not know it."""
