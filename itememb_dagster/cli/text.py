"""Text of unknown origin (titles, ids) made safe for a terminal."""


def plain(text: str) -> str:
    """Return text on one line, without what a terminal would obey: each such character a space."""
    return "".join(c if c.isprintable() else " " for c in text)
