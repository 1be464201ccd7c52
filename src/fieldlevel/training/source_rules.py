"""How several sources share a training: what is refused, and how many maps of each a batch holds.

A share times the batch need not be a whole number. Each source first gets the whole part of it; the maps that are left
go one each to the sources with the largest fractions, the earlier source first where these are equal (the method of
largest remainders), so that the numbers add up to the batch.
"""

import math
from collections.abc import Sequence
from dataclasses import replace

from fieldlevel.errors import UserError
from fieldlevel.training.source_spec import SourceSpec
from fieldlevel.training.train_spec import TrainSpec

_ROUND_OFF = 1e-6
"""By which shares may miss their sum: 0.333 is no third, 0.3333333 is."""


def settle_sources(spec: TrainSpec, n_ranks: int = 1) -> TrainSpec:
    """Refuse sources that cannot be, and say the same training in the same way.

    Args:
        spec: of the training.
        n_ranks: processes that share every batch; each takes as many maps of a source as the others.

    Returns:
        The spec with suite and set of the first source; a source alone, with all its simulations, is the suite of the
        training.

    Raises:
        UserError: a suite or set beside other sources, a source twice, none with labels, shares that are none or do
            not add up, a source or a process without maps in a batch.

    Example:
        >>> settle_sources(TrainSpec(sources=(SourceSpec("SIMBA"),))) == TrainSpec(suite="SIMBA")
        True
    """
    if not spec.sources:
        return spec
    _refuse_contradictions(spec)
    for source, count in zip(spec.sources, maps_of_sources(spec), strict=True):
        if count == 0 or count % n_ranks:
            whole = "at least one" if count == 0 else f"a multiple of the {n_ranks} processes"
            told = f"sources: {count} maps of {source.suite} in a batch of {spec.batch_size}, must be {whole}"
            raise UserError(f"{told}; give another share, or another batch_size")
    first = spec.sources[0]
    sources = spec.sources if len(spec.sources) > 1 or first.simulations else ()
    return replace(spec, suite=first.suite, set_name=first.set_name, sources=sources)


def _refuse_contradictions(spec: TrainSpec) -> None:
    first, usual = spec.sources[0], TrainSpec()
    for name in ("suite", "set_name"):
        if (given := getattr(spec, name)) not in (getattr(first, name), getattr(usual, name)):
            told = f"{name} = {given}: beside sources, the first of which has {getattr(first, name)}"
            raise UserError(f"{told}; leave it out")
    names = [(source.suite, source.set_name) for source in spec.sources]
    if twice := next((name for name in names if names.count(name) > 1), None):
        raise UserError(f"sources: {' '.join(twice)} twice; give each source once")
    if not any(source.labelled for source in spec.sources):
        raise UserError("sources: none has labels, from which alone a network learns; give one labelled = true")


def shares_of(sources: Sequence[SourceSpec]) -> list[float]:
    """Parts of a batch, which add up to 1.

    Raises:
        UserError: shares that are not positive, or do not add up.

    Example:
        >>> shares_of([SourceSpec("SIMBA", share=0.5), SourceSpec("Astrid"), SourceSpec("EAGLE")])
        [0.5, 0.25, 0.25]
    """
    stated = [source.share for source in sources if source.share is not None]
    if wrong := [share for share in stated if not 0.0 < share <= 1.0]:
        raise UserError(f"sources: share = {wrong[0]}: must be above 0 and at most 1")
    total, n_open = math.fsum(stated), len(sources) - len(stated)
    if n_open and total >= 1.0 - _ROUND_OFF:
        raise UserError(f"sources: shares add up to {total:g} and leave nothing to {n_open} others; give smaller ones")
    if not n_open and abs(total - 1.0) > _ROUND_OFF:
        raise UserError(f"sources: shares add up to {total:g}, not 1; give other ones, or leave one out")
    return [(1.0 - total) / n_open if source.share is None else source.share for source in sources]


def maps_of_sources(spec: TrainSpec) -> tuple[int, ...]:
    """Maps of each source in a batch, by largest remainders.

    Raises:
        UserError: as in `shares_of`.

    Example:
        >>> maps_of_sources(TrainSpec(sources=(SourceSpec("SIMBA"), SourceSpec("Astrid"), SourceSpec("EAGLE"))))
        (43, 43, 42)
    """
    wanted = [round(share * spec.batch_size, 6) for share in shares_of(spec.all_sources)]
    counts = [math.floor(number) for number in wanted]
    by_fraction = sorted(range(len(wanted)), key=lambda i: (counts[i] - wanted[i], i))
    for i in by_fraction[: spec.batch_size - sum(counts)]:
        counts[i] += 1
    return tuple(counts)
