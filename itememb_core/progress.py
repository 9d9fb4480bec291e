"""How long work reports itself: a callback, since the core never prints."""

from collections.abc import Callable

#: Called with (what is being done, units done, units in all); in all is 0 where unknown.
Progress = Callable[[str, int, int], None]


def silent(_what: str, _done: int, _total: int) -> None:
    """Report nothing: the default of every ``progress`` argument."""
