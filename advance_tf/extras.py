"""Imports of optional dependencies, with errors that name the extra to install."""

import contextlib
import importlib
from collections.abc import Iterator


def check_extra(extra: str, *modules: str) -> None:
    """Checks that the modules of an optional dependency can be imported.

    A function calls it before work that another module needs the package for; import
    statements are in the body of `requires_extra` instead.

    Args:
        extra: the extra of advance_tf that installs them, such as "report".
        *modules: dotted names, such as "matplotlib.figure".

    Raises:
        ImportError: a package is not installed; the message names the extra.

    >>> check_extra("report", "json")
    """
    with requires_extra(extra):
        for module in modules:
            importlib.import_module(module)


@contextlib.contextmanager
def requires_extra(extra: str) -> Iterator[None]:
    """Names the extra in the error of import statements that fail.

    Args:
        extra: the extra of advance_tf that installs what the statements import.

    Yields:
        None, while the import statements run.

    Raises:
        ImportError: a package is not installed; the message names the extra.

    >>> with requires_extra("report"):  # doctest: +ELLIPSIS
    ...     import not_installed
    Traceback (most recent call last):
    ...
    ImportError: not_installed is not installed. ...
    """
    try:
        yield
    except ImportError as error:
        package = (error.name or str(error)).split(".")[0]
        raise ImportError(
            f"{package} is not installed. Install it with "
            f"`pip install 'advance_tf[{extra}]'`."
        ) from error
