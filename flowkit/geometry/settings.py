"""What an object was made with, read back from its attributes, so that another one can be made like it."""

import inspect
from typing import Any


def settings(made: object, *without: str) -> dict[str, Any]:
    """The arguments of an object's constructor, each read from the attribute of the same name.

    Parameters
    ----------
    made : object
        An instance that keeps each argument of its constructor under its name.
    *without : str
        Names of arguments that are left out.

    Returns
    -------
    dict
        Name -> value, in the order of the constructor.

    Examples
    --------
    >>> import flowkit as fk
    >>> from flowkit.geometry.settings import settings
    >>> settings(fk.Normal(fk.sites((2, 2)), sigma=2.0), "space")
    {'sigma': 2.0}
    """
    return {name: getattr(made, name) for name in inspect.signature(type(made)).parameters if name not in without}
