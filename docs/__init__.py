"""Pages and pictures that are made from the code: ``python -m docs.make``."""
