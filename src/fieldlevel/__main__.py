"""`python -m fieldlevel` is the command line."""

from fieldlevel.cli import entry_point

if __name__ == "__main__":
    entry_point()
