"""Do maps come from the simulator that made those of the training? Another version gives other maps of the same spec.

A weights file keeps the version by source (`data.map_records`); the mock maps of one of before it did are of the
second version or the first.
"""

from collections.abc import Iterable

from fieldlevel.data.map_records import EARLY, EARLY_VERSIONS, MapRecord
from fieldlevel.data.seen import SeenSource


def other_simulator(sources: Iterable[SeenSource], made_from: MapRecord | None) -> tuple[str, ...]:
    """A remark where maps were made by another simulator than those of a training.

    Args:
        sources: what the network has seen.
        made_from: what the maps were simulated from; None where that is not known, and of real maps.

    Returns:
        One line, or none.

    Example:
        >>> mine = SeenSource("MockTNG", "LH", True, "", (), (), None, MapRecord("2", "0" * 12))
        >>> other_simulator([mine], MapRecord("3", "0" * 12))
        ('trained on maps of simulator 2, these are of simulator 3: answers may be off',)
    """
    if made_from is None:
        return ()
    other = [version for version in _versions(sources) if not _agree(version, made_from.simulator)]
    if not other:
        return ()
    told = f"trained on maps of simulator {' and '.join(other)}, these are of simulator {made_from.simulator}"
    return (f"{told}: answers may be off",)


def mixed_simulators(sources: Iterable[SeenSource]) -> tuple[str, ...]:
    """A remark where the mock maps of the sources of one training come from different simulators."""
    versions = _versions(sources)
    return (f"trained on maps of different simulators, {' and '.join(versions)}",) if len(versions) > 1 else ()


def _versions(sources: Iterable[SeenSource]) -> list[str]:
    """That made the mock maps of the sources, as far as they are known, each once."""
    return list(dict.fromkeys(source.made_from.simulator for source in sources if source.made_from is not None))


def _agree(trained: str, tested: str) -> bool:
    return trained == tested or (trained == EARLY.simulator and tested in EARLY_VERSIONS)
