"""Pooling: the maps of all suites in one loss. What every other method has to beat, and is with its weight at zero.

References:
    Gulrajani & Lopez-Paz 2020, arXiv:2007.01434 (nothing beats a well-tuned pooling by much); Villaescusa-Navarro et
    al. 2021, arXiv:2109.10360.
"""

from fieldlevel.training.method import Method


class Pooled(Method):
    """All suites together."""
