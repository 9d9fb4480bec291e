"""The one error that people read."""


class ItemembError(Exception):
    """Bad input or a bad setting.

    The message is one line that names the thing (file, column, setting, item), what was found
    and what is expected; the command prints it without a traceback.
    """
