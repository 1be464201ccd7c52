"""Reading the next maps while a network works on the last ones."""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

Place = TypeVar("Place")
Read = TypeVar("Read")


def read_ahead(places: Sequence[Place], read: Callable[[Place], Read]) -> Iterator[tuple[Place, Read]]:
    """Read places in their order, in a thread that is one place ahead.

    What is read beside what is asked for is one more of them. Who stops asking waits for the read in progress.

    Args:
        places: of what is to be read.
        read: called in another thread, one place at a time; it is to leave the processor to others while it waits for a
            disk or copies, as NumPy does.

    Yields:
        Each place with what was read there. What a read raises is raised when its turn has come.

    Example:
        >>> list(read_ahead([1, 2, 3], lambda place: 10 * place))
        [(1, 10), (2, 20), (3, 30)]
    """
    if len(places) < 2:
        yield from ((place, read(place)) for place in places)
        return
    reader = ThreadPoolExecutor(1, "read-ahead")
    try:
        coming = reader.submit(read, places[0])
        for number, place in enumerate(places):
            found = coming.result()
            if number + 1 < len(places):
                coming = reader.submit(read, places[number + 1])
            yield place, found
    finally:
        reader.shutdown(wait=True, cancel_futures=True)
