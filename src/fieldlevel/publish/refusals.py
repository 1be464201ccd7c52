"""Commands that tell in one line what they refuse."""

import sys
from collections.abc import Callable

from fieldlevel.console import error
from fieldlevel.errors import UserError


def exit_on_refusal(main: Callable[[], None]) -> None:
    """Call the main function of a command; what it refuses is told in one line, with exit code 2."""
    try:
        main()
    except UserError as trouble:
        error(str(trouble))
        sys.exit(2)
