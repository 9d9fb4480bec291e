"""Spoiled raw folders, by ``python -m tests.bench.bad_inputs``: see ``__main__``."""
