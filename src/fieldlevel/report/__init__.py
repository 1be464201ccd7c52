"""The report of a letter: one HTML page that needs nothing else, the same as Markdown, and all numbers as plain JSON.

Every sentence about what was found is computed from the measured numbers and their errors.
"""

from fieldlevel.report.letter_files import write_letter
from fieldlevel.study.finished import OURS, read_finished

__all__ = ["OURS", "read_finished", "write_letter"]
