"""Are maps like those that a network was trained on, so that its error bars hold?

`judge(predictor, maps)` says so; `make_reference` and `find_reference` are about what it compares with.
"""

from fieldlevel.inference.trust.judging import Trust, judge
from fieldlevel.inference.trust.making import make_reference
from fieldlevel.inference.trust.reference_file import find_reference

__all__ = ["Trust", "find_reference", "judge", "make_reference"]
