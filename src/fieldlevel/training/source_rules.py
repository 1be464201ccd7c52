"""How several sources share a training: what is refused, and how many maps of each a batch holds.

A share times the batch need not be a whole number. Each source first gets the whole part of it; the maps that are left
go one each to the sources with the largest fractions, the earlier source first where these are equal (the method of
largest remainders), so that the numbers add up to the batch.
"""

import math
from collections.abc import Sequence
from dataclasses import replace

from fieldlevel.errors import UserError
from fieldlevel.suites import layout_of
from fieldlevel.training.source_spec import SourceSpec
from fieldlevel.training.train_spec import TrainSpec

WHOLE = (0.0, 1.0)
"""Part of the training simulations."""
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
        if (count == 0 and source.share != 0.0) or count % n_ranks:
            whole = "at least one" if count == 0 else f"a multiple of the {n_ranks} processes"
            told = f"sources: {count} maps of {source.suite} in a batch of {spec.batch_size}, must be {whole}"
            raise UserError(f"{told}; give another share, or another batch_size")
    first = spec.sources[0]
    has_some = first.part != WHOLE or first.simulations
    sources = spec.sources if len(spec.sources) > 1 or has_some else ()
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
    for source in spec.sources:
        _refuse_bad_part(source)
        if source.apart:
            _refuse_labels(source, [each.suite for each in spec.sources if each.labelled])


def _refuse_bad_part(source: SourceSpec) -> None:
    first, last = source.part
    if not 0.0 <= first < last <= 1.0:
        told = f"sources: part = {first:g} to {last:g} of {source.suite}"
        raise UserError(f"{told}; give two fractions between 0 and 1, the smaller one first")


def _refuse_labels(source: SourceSpec, labelled: Sequence[str]) -> None:
    """What a network is aligned with must not be known to it by labels."""
    if source.labelled:
        raise UserError(f"sources: {source.suite} has labels, but apart are sources without; give one of the two")
    if source.suite in labelled:
        raise UserError(f"sources: {source.suite} is trained on with labels; align with a suite that is not")


def with_suites(spec: TrainSpec, suites: Sequence[str], align_with: str | None, align_part: float) -> TrainSpec:
    """A training on several suites, in equal shares, and perhaps on maps of another one without labels.

    Where that one has the initial conditions of a training suite, the last part of the training simulations is kept for
    it, and the suites with labels have the others: no sibling of its simulations has a label.

    Args:
        spec: of the training otherwise; its set is that of all.
        suites: with labels; when empty that of the spec.
        align_with: without labels, if any.
        align_part: fraction of the training simulations to keep for it.

    Raises:
        UserError: suites beside sources, one that is aligned with itself, or a fraction that is none.

    Example:
        >>> spec = with_suites(TrainSpec(), ["IllustrisTNG", "SIMBA"], "Astrid", 0.5)
        >>> [(source.suite, source.labelled, source.part) for source in spec.sources][1:]
        [('SIMBA', True, (0.0, 1.0)), ('Astrid', False, (0.0, 1.0))]
        >>> [source.part for source in with_suites(TrainSpec(), ["MockTNG"], "MockSIMBA", 0.25).sources]
        [(0.0, 0.75), (0.75, 1.0)]
    """
    if spec.sources:
        raise UserError("--suites, --align-with: beside sources, of which there are some already; give one of them")
    if not 0.0 < align_part < 1.0:
        raise UserError(f"--align-part {align_part:g}: give a fraction between 0 and 1")
    named = list(suites) or [spec.suite]
    if align_with in named:
        raise UserError(f"--align-with {align_with}: is trained on with labels; give a suite that is not")
    whose = [layout_of(suite, spec.set_name).initial_conditions for suite in named]
    is_shared = align_with is not None and layout_of(align_with, spec.set_name).initial_conditions in whose
    cut = 1.0 - align_part if is_shared else 1.0
    sources = tuple(SourceSpec(suite, spec.set_name, part=(0.0, cut)) for suite in named)
    if align_with is not None:
        part = (cut, 1.0) if is_shared else WHOLE
        sources += (SourceSpec(align_with, spec.set_name, labelled=False, part=part, apart=True),)
    suite = named[0] if suites and spec.suite == TrainSpec().suite else spec.suite
    return replace(spec, suite=suite, sources=sources)


def shares_of(sources: Sequence[SourceSpec]) -> list[float]:
    """Parts of a batch, which add up to 1.

    Raises:
        UserError: shares that are not positive, or do not add up.

    Example:
        >>> shares_of([SourceSpec("SIMBA", share=0.5), SourceSpec("Astrid"), SourceSpec("EAGLE")])
        [0.5, 0.25, 0.25]
    """
    stated = [source.share for source in sources if source.share is not None]
    for source in sources:
        is_none = source.share == 0.0 and not source.labelled  # maps without labels that no batch is to hold
        if source.share is not None and not (0.0 < source.share <= 1.0 or is_none):
            raise UserError(f"sources: share = {source.share}: must be above 0 and at most 1")
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
