"""The errors that people read. What belongs here: nothing else."""


class ItemembError(Exception):
    """Bad input or a bad setting.

    The message is one line that names the thing (file, column, setting, item), what was found
    and what is expected; the command prints it without a traceback.
    """


class UsageError(ItemembError):
    """A value of an option, setting or environment variable that can never be right."""
