"""Errors that a user can mend: one line that says what, where and what to do.

The command line prints the message alone and exits with code 2. Anything else that escapes is a defect of the package
and keeps its traceback.
"""


class UserError(Exception):
    """Bad input: the message names the thing, the place and the remedy on one line."""


class DataError(UserError):
    """A data folder that cannot be used.

    Attributes:
        defects: every defect found, one line each.
    """

    def __init__(self, defects: list[str]) -> None:
        self.defects = list(defects)
        more = f" (and {len(defects) - 1} more: run `fieldlevel check` on the folder)" if len(defects) > 1 else ""
        super().__init__(f"{defects[0]}{more}")

    def __reduce__(self) -> tuple[type["DataError"], tuple[list[str]]]:
        """Pickle the defects, not the message, so that the error comes through from a worker process."""
        return type(self), (self.defects,)


class TrainingError(Exception):
    """Training cannot go on; the message gives the step, the learning rate and the remedy. Exit code 1."""
