"""How each kernel cuts its work: tables by pass, kind of convolution and channels."""

from dataclasses import dataclass, replace
from typing import Literal

Pass = Literal["forward", "data", "weight"]
Kind = Literal["first", "wrap", "halve", "last"]
_SMALLEST = 16
"""Rows and columns that a tensor core takes at least."""


@dataclass(frozen=True)
class Tiles:
    """How one kernel cuts its work.

    Attributes:
        group: rows and columns of output pixels that share a window.
        chunk: rows and columns of window pixels in one product.
        channels: of a window pixel in one product, at most.
        columns: of the group's pixels times channels in one program, at most.
        block: groups in a tile.
        width: columns of groups in a tile, at most; the rest of `block` are rows, then maps.
        depth: tiles that a program works through; for the weights, programs that share the sum.
        n_warps: of 32 threads.
        n_stages: of the software pipeline.
    """

    group: tuple[int, int] = (1, 1)
    chunk: tuple[int, int] = (1, 1)
    channels: int = 64
    columns: int = 128
    block: int = 128
    width: int = 32
    depth: int = 1
    n_warps: int = 4
    n_stages: int = 3


_ANY_WIDTH: dict[Pass, Tiles] = {
    "forward": Tiles(channels=64, columns=128, block=128, n_warps=8),
    "data": Tiles(channels=64, columns=128, block=64, n_warps=8, n_stages=2),
    "weight": Tiles(channels=128, columns=128, block=64, depth=16, n_warps=8, n_stages=2),
}
"""For any number of channels."""

TILES: dict[tuple[Pass, Kind, int, int], Tiles] = {
    ("forward", "first", 1, 16): Tiles((2, 2), (4, 4), block=64, depth=4, n_stages=1),
    ("weight", "first", 1, 16): Tiles((2, 2), (4, 4), block=64, depth=264),
    ("forward", "wrap", 16, 16): Tiles((2, 2), (1, 4), depth=4, n_stages=2),
    ("data", "wrap", 16, 16): Tiles((2, 2), (1, 4), depth=4),
    ("weight", "wrap", 16, 16): Tiles((2, 2), (4, 4), depth=132, n_warps=8, n_stages=2),
    ("forward", "halve", 16, 16): Tiles((1, 1), (2, 2), columns=64, n_stages=2),
    ("data", "halve", 16, 16): Tiles((2, 2), (1, 1), columns=64, depth=4, n_stages=2),
    ("weight", "halve", 16, 16): Tiles((1, 1), (1, 2), columns=64, block=64, depth=528, n_stages=2),
    ("forward", "wrap", 16, 32): Tiles((2, 2), (1, 4), depth=16, n_stages=2),
    ("data", "wrap", 16, 32): Tiles((2, 2), (1, 2), depth=16),
    ("weight", "wrap", 16, 32): Tiles((2, 2), (4, 4), block=64, depth=132, n_warps=8, n_stages=2),
    ("forward", "wrap", 32, 32): Tiles((2, 2), (1, 2), n_stages=2),
    ("data", "wrap", 32, 32): Tiles((1, 2), (1, 2)),
    ("weight", "wrap", 32, 32): Tiles((2, 2), (2, 4), block=64, depth=132, n_warps=8, n_stages=2),
    ("forward", "halve", 32, 32): Tiles((1, 1), (1, 2), n_stages=2),
    ("data", "halve", 32, 32): Tiles((2, 2), (1, 1), columns=64, depth=4, n_stages=2),
    ("weight", "halve", 32, 32): Tiles((1, 1), (1, 2), block=64, depth=264, n_stages=2),
    ("forward", "wrap", 32, 64): Tiles((1, 2), (1, 2), depth=4, n_stages=2),
    ("data", "wrap", 32, 64): Tiles((1, 2), (1, 2), columns=64, depth=4),
    ("weight", "wrap", 32, 64): Tiles((1, 2), (1, 4), depth=132, n_warps=8, n_stages=2),
    ("forward", "wrap", 64, 64): Tiles((1, 2), (1, 2), block=64, depth=4, n_stages=2),
    ("data", "wrap", 64, 64): Tiles(depth=4),
    ("weight", "wrap", 64, 64): Tiles((1, 2), (1, 4), block=64, depth=132, n_warps=8, n_stages=2),
    ("forward", "halve", 64, 64): Tiles((1, 1), (1, 2), columns=64, n_stages=2),
    ("data", "halve", 64, 64): Tiles((2, 2), (1, 1), columns=64, block=64, depth=16, n_stages=2),
    ("weight", "halve", 64, 64): Tiles((1, 1), (1, 2), columns=64, block=64, depth=132, n_warps=8, n_stages=2),
}
"""Tiles by pass, kind of convolution, and its input and output channels padded to powers of two."""


def padded_channels(channels: int) -> int:
    """Channels that a kernel works with: a power of two that a tensor core takes, or one."""
    return 1 if channels == 1 else max(_SMALLEST, 1 << (channels - 1).bit_length())


def tiles_for(passing: Pass, kind: Kind, n_in: int, n_out: int) -> Tiles:
    """The tiles in use for one pass of a convolution of any number of channels."""
    return TILES.get((passing, kind, padded_channels(n_in), padded_channels(n_out)), _fallback(passing, kind))


def _fallback(passing: Pass, kind: Kind) -> Tiles:
    if kind == "first":
        return TILES[passing, kind, 1, _SMALLEST]
    if (passing, kind) == ("data", "halve"):
        return replace(_ANY_WIDTH[passing], group=(2, 2))
    return _ANY_WIDTH[passing]
