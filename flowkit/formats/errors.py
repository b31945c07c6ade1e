"""What goes wrong with a file of another code."""


class FormatError(ValueError):
    """A file of links that is damaged, of another format, or cannot be written; the message says why.

    Examples
    --------
    >>> import flowkit as fk
    >>> try:
    ...     fk.formats.read("no-such-file")
    ... except fk.formats.FormatError as error:
    ...     print(error)
    no-such-file: No such file or directory.
    """
