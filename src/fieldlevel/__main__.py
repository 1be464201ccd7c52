"""`python -m fieldlevel` and the console script: the command line, with interrupts answered before it is imported."""

from typing import NoReturn

from fieldlevel import interrupts


def entry_point() -> NoReturn:
    """Run the command of this process's arguments and end the process."""
    interrupts.install()
    from fieldlevel import cli  # noqa: PLC0415 (takes a while, in which interrupts may come)

    cli.entry_point()


if __name__ == "__main__":
    entry_point()
