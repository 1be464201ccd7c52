"""`python -m fieldlevel` and the console script: the command line, with interrupts answered before it is imported."""

import os

TYPE_CHECKING = False  # what is imported here takes time, in which an interrupt is not answered as it will be
if TYPE_CHECKING:
    from typing import NoReturn

try:
    from fieldlevel import interrupts
except KeyboardInterrupt:
    os.write(2, b"fieldlevel: interrupted; the same command continues\n")
    os._exit(130)


def entry_point() -> "NoReturn":
    """Run the command of this process's arguments and end the process."""
    interrupts.install()
    from fieldlevel import cli  # noqa: PLC0415 (takes a while, in which interrupts may come)

    cli.entry_point()


if __name__ == "__main__":
    entry_point()
