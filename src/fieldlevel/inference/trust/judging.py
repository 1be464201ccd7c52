"""Are these maps like those of the training? One map by itself, all together, and why not, in a line."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from fieldlevel.arrays import FloatArray, IntArray
from fieldlevel.data.given import as_maps
from fieldlevel.data.suite import Suite
from fieldlevel.errors import UserError
from fieldlevel.inference.predictor import Predictor
from fieldlevel.inference.trust.map_statistics import measure
from fieldlevel.inference.trust.reasons import reasons_of, sentence_of
from fieldlevel.inference.trust.reference_file import find_reference, read_reference_file, weights_checksum
from fieldlevel.inference.trust.trust_reference import Looked, Reference
from fieldlevel.inference.trust.units import forgotten_factor
from fieldlevel.progress import Listener, ignore

LEVEL = 0.05
"""Maps of a smaller p-value are called unlike: so many of the maps that are like the training's are, too."""
_BLOCK = 120


@dataclass(frozen=True, eq=False)
class Trust:
    """Whether maps are like those that a network was trained on.

    Attributes:
        p_value: of each map by itself, (n,): the share of maps like the training's that are more unusual. NaN where
            nothing is known.
        set_p_value: of all maps together, given the answers; None of one map, or where nothing is known.
        reasons: in what they are unlike, in plain words, where they are.
        sentence: all of it in a line.
    """

    p_value: FloatArray
    set_p_value: float | None
    reasons: tuple[str, ...]
    sentence: str

    @property
    def is_known(self) -> bool:
        """Whether the network has a reference to compare maps with."""
        return not bool(np.isnan(self.p_value).any())

    @property
    def telling_p(self) -> float:
        """The p-value of the set, or of the one map."""
        return float(self.p_value[0]) if self.set_p_value is None else self.set_p_value

    def to_json(self) -> dict[str, Any]:
        """What a document keeps of it."""
        known = {"set_p_value": self.set_p_value, "p_values": self.p_value.tolist()} if self.is_known else {}
        return {"sentence": self.sentence, "reasons": list(self.reasons), **known}

    @property
    def is_unlike(self) -> bool:
        """Whether the maps are called unlike, at a rate of false alarms of `LEVEL`."""
        return self.is_known and self.telling_p < LEVEL


def judge(
    predictor: Predictor,
    maps: Any,
    simulations: npt.ArrayLike | None = None,
    *,
    reference: Reference | None = None,
    listener: Listener = ignore,
) -> Trust:
    """Compare maps with those of the training of a network.

    Args:
        predictor: the network.
        maps: raw maps as `Predictor.predict` takes them, (n, N, N).
        simulations: number of the simulation of each map, (n,); as in map files of CAMELS, successive ones of each
            simulation, when None.
        reference: of the network; the one beside its weights when None.
        listener: told of every block.

    Raises:
        UserError: maps of another size or with pixels that no map has; a damaged reference, or one of other weights.
    """
    given = as_maps(maps, predictor.n_pixels)
    reference = reference_of(predictor) if reference is None else reference
    if reference is None or len(given) == 0:
        return not_known(predictor, len(given))
    numbers = _numbers(simulations, len(given), predictor.layout.n_maps)
    blocks = ((given[start : start + _BLOCK], numbers[start : start + _BLOCK]) for start in _starts(len(given)))
    return _judged(predictor, reference, blocks, listener)


def judge_suite(
    predictor: Predictor, suite: Suite, simulations: npt.NDArray[np.integer], listener: Listener = ignore
) -> Trust:
    """The same of some simulations of a suite, read one after the other."""
    reference = reference_of(predictor)
    if reference is None:
        return not_known(predictor, suite.layout.n_maps * len(np.unique(simulations)))
    n_maps = suite.layout.n_maps
    blocks = ((suite.read_simulation(int(number)), np.full(n_maps, number)) for number in np.unique(simulations))
    return _judged(predictor, reference, blocks, listener)


def reference_of(predictor: Predictor) -> Reference | None:
    """The reference beside the weights of a network, None where there is none.

    Raises:
        UserError: a damaged one, or one of other weights.
    """
    path = find_reference(predictor.source)
    return None if path is None else read_reference_file(path, weights_checksum(Path(predictor.source)))


def not_known(predictor: Predictor, n_maps: int) -> Trust:
    """What there is to say of maps where the network has no reference."""
    told = f"no reference beside {predictor.source}; make one with `fieldlevel trust`"
    sentence = f"not known whether these maps are like the training's: {told}"
    return Trust(np.full(n_maps, np.nan), None, (), sentence)


def _starts(n: int) -> range:
    return range(0, n, _BLOCK)


def _numbers(simulations: npt.ArrayLike | None, n: int, n_maps: int) -> IntArray:
    if simulations is None:
        return np.arange(n) // n_maps
    numbers = np.asarray(simulations)
    if numbers.shape != (n,) or numbers.dtype.kind not in "iu":
        told = f"simulations of shape {numbers.shape} and type {numbers.dtype}"
        raise UserError(f"trust: {told}; give the number of the simulation of each of the {n} maps")
    return numbers


def _judged(
    predictor: Predictor, reference: Reference, blocks: Iterable[tuple[Any, IntArray]], listener: Listener
) -> Trust:
    parts: list[Looked] = []
    sample: list[tuple[Any, IntArray]] = []
    for maps, numbers in blocks:
        measured = measure(predictor, maps, listener=listener)
        parts.append(reference.look(measured, numbers))
        sample = sample or [(maps, numbers)]
    looked = Looked.joined(parts)
    p = reference.p_values(looked.rows)
    together = reference.set_p(looked.rows) if len(p) > 1 else None
    telling = float(p[0]) if together is None else together
    reasons: tuple[str, ...] = ()
    if telling < LEVEL:
        factor = forgotten_factor(predictor, reference, *sample[0])
        reasons = reasons_of(reference, looked, predictor.layout, predictor.n_pixels, factor)
    return Trust(p, together, reasons, sentence_of(telling, reasons, len(p)))
