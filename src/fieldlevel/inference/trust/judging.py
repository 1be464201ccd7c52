"""Are these maps like those of the training? One map by itself, all together, and why not, in a line."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from fieldlevel.arrays import FloatArray, IntArray, as_array
from fieldlevel.data.given import as_maps, as_pixels
from fieldlevel.data.read_ahead import read_ahead
from fieldlevel.data.suite import Suite
from fieldlevel.errors import UserError
from fieldlevel.inference.map_reader import MapReader, simulations_at_once
from fieldlevel.inference.trust.map_statistics import Measured, measure
from fieldlevel.inference.trust.reasons import reasons_of, sentence_of
from fieldlevel.inference.trust.reference_file import find_reference, read_reference_file, weights_checksum
from fieldlevel.inference.trust.trust_reference import Looked, Reference
from fieldlevel.inference.trust.units import forgotten_factor
from fieldlevel.progress import Listener, Progress, ignore

LEVEL = 0.05
"""Maps of a smaller p-value are called unlike: so many of the maps that are like the training's are, too."""
_TASK = "compare with the training"
_CPU = torch.device("cpu")
_BLOCK = 120
"""Maps of which a forgotten factor is looked for, and that are looked at together at most."""


@dataclass(frozen=True, eq=False)
class Trust:
    """Whether maps are like those that a network was trained on.

    Attributes:
        p_value: of each map by itself, (n,): the share of maps like the training's that are more unusual. NaN where
            nothing is known.
        set_p_value: of all maps together, given the answers; None of one map, or where nothing is known.
        reasons: in what they are unlike, in plain words, where they are.
        sentence: all of it in a line.
        remarks: what else to know of it, a line each.
    """

    p_value: FloatArray
    set_p_value: float | None
    reasons: tuple[str, ...]
    sentence: str
    remarks: tuple[str, ...] = ()

    def __repr__(self) -> str:
        return f"<Trust in {len(self.p_value)} map{'s' * (len(self.p_value) != 1)}: {self.sentence}>"

    @classmethod
    def of_members(cls, members: "Sequence[Trust]") -> "Trust":
        """That of several networks on the same maps, an ensemble: as unlike as the most unlike of them finds.

        Each p-value is the smallest of the members times their number (Bonferroni), whatever they have in common.
        Disagreement of the members themselves may be one more of these.
        """
        known = [member for member in members if member.is_known]
        if not known:
            return members[0]
        n = len(known)
        p = np.minimum(n * np.min([member.p_value for member in known], axis=0), 1.0)
        found = [member.set_p_value for member in known if member.set_p_value is not None]
        together = min(n * min(found), 1.0) if found else None
        telling = float(p[0]) if together is None else together
        worst = min(known, key=lambda member: member.telling_p)
        reasons = worst.reasons if telling < LEVEL else ()
        remarks = tuple(dict.fromkeys(remark for member in known for remark in member.remarks))
        return cls(p, together, reasons, sentence_of(telling, reasons, p), remarks)

    @classmethod
    def of_alternatives(cls, members: "Sequence[Trust]") -> "Trust":
        """That of several networks on the same maps, of which those that know such maps answer.

        Each p-value is the largest of the members: of maps like those of any member's training it is below 0.05 at most
        as often as that member's own.
        """
        known = [member for member in members if member.is_known]
        if not known:
            return members[0]
        p = np.max([member.p_value for member in known], axis=0)
        found = [member.set_p_value for member in known if member.set_p_value is not None]
        together = max(found) if found else None
        telling = float(p[0]) if together is None else together
        best = max(known, key=lambda member: member.telling_p)
        reasons = best.reasons if telling < LEVEL else ()
        return cls(p, together, reasons, sentence_of(telling, reasons, p), best.remarks)

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
        known = (
            {"set_p_value": self.set_p_value, "p_values": [float(f"{p:.4g}") for p in self.p_value.tolist()]}
            if self.is_known
            else {}
        )
        remarks = {"remarks": list(self.remarks)} if self.remarks else {}
        return {"sentence": self.sentence, "reasons": list(self.reasons), **remarks, **known}

    @property
    def is_unlike(self) -> bool:
        """Whether the maps are called unlike, at a rate of false alarms of `LEVEL`."""
        return self.is_known and self.telling_p < LEVEL


class Judging:
    """Maps that are compared with those of a training, block by block, as a network reads them.

    Args:
        predictor: the network.
        reference: of it; nothing is compared where there is none.
    """

    def __init__(self, predictor: MapReader, reference: Reference | None) -> None:
        self.predictor = predictor
        self.reference = reference
        self._parts: list[Looked] = []
        self._sample: list[tuple[Any, IntArray]] = []
        self._n_maps = self._n_compared = 0

    def add(self, maps: Any, numbers: IntArray, measured: Measured | None) -> None:
        """Look at a block of maps.

        Args:
            maps: raw, (b, N, N).
            numbers: of the simulation of each, (b,).
            measured: of them; None where there is no reference.
        """
        self._n_maps += len(maps)
        if self.reference is None or measured is None:
            return
        self._parts.append(self.reference.look(measured, numbers))
        if (lacking := _BLOCK - sum(len(known) for _, known in self._sample)) > 0:
            self._sample.append((as_pixels(maps[:lacking], _CPU), numbers[:lacking]))
        self._n_compared += self.reference.compared.n_among(maps)

    def verdict(self) -> Trust:
        """What there is to say of all maps together."""
        if self.reference is None or not self._sample:
            return not_known(self.predictor, self._n_maps)
        reference, looked = self.reference, Looked.joined(self._parts)
        p = reference.p_values(looked.rows)
        together = reference.set_p(looked.rows) if len(p) > 1 else None
        telling = float(p[0]) if together is None else together
        reasons: tuple[str, ...] = ()
        if telling < LEVEL:
            maps, numbers = zip(*self._sample, strict=True)
            given = torch.cat(maps), np.concatenate(numbers)
            p_as_given = reference.set_p(looked.rows.chosen(np.arange(len(given[1]))))
            factor = forgotten_factor(self.predictor, reference, *given, p_as_given)
            reasons = reasons_of(reference, looked, self.predictor.layout, self.predictor.n_pixels, factor)
        few = reference.remarks if telling < LEVEL else ()
        of_sets = reference.set_remarks if together is not None else ()
        remarks = (*few, *of_sets, *reference.compared.remarks(self._n_compared))
        return Trust(p, together, reasons, sentence_of(telling, reasons, p), remarks)


def judge(
    predictor: MapReader,
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
        simulations: number or name of the simulation of each map, (n,); as in map files of CAMELS, successive ones of
            each simulation, when None.
        reference: of the network; the one beside its weights when None.
        listener: told of every block.

    Raises:
        UserError: maps of another size or with pixels that no map has; a damaged reference, or one of other weights.
    """
    given = as_maps(maps, predictor.n_pixels)
    judging = Judging(predictor, reference_of(predictor) if reference is None else reference)
    if judging.reference is None or len(given) == 0:
        return not_known(predictor, len(given))
    numbers = simulation_numbers(simulations, len(given), predictor.layout.n_maps)
    for start in range(0, len(given), _BLOCK):
        block = slice(start, min(start + _BLOCK, len(given)))
        judging.add(given[block], numbers[block], measure(predictor, given[block]))
        listener(Progress(_TASK, block.stop, len(given), "maps"))
    return judging.verdict()


def judge_suite(
    predictor: MapReader,
    suite: Suite,
    simulations: npt.NDArray[np.integer],
    listener: Listener = ignore,
    *,
    reference: Reference | None = None,
) -> Trust:
    """The same of some simulations of a suite, read from its file a few at a time."""
    judging = Judging(predictor, reference_of(predictor) if reference is None else reference)
    chosen, n_maps = np.unique(simulations), suite.layout.n_maps
    if judging.reference is None:
        return not_known(predictor, n_maps * len(chosen))
    n_done = 0
    for together, maps in read_ahead([*simulations_at_once(predictor, suite, chosen, _BLOCK)], suite.read_simulations):
        judging.add(maps, np.repeat(together, n_maps), measure(predictor, maps))
        n_done += len(maps)
        listener(Progress(_TASK, n_done, n_maps * len(chosen), "maps"))
    return judging.verdict()


def reference_of(predictor: MapReader) -> Reference | None:
    """The reference beside the weights of a network, None where there is none.

    Raises:
        UserError: a damaged one, or one of other weights.
    """
    path = find_reference(predictor.source)
    return None if path is None else read_reference_file(path, weights_checksum(Path(predictor.source)))


def not_known(predictor: MapReader, n_maps: int) -> Trust:
    """What there is to say of maps where the network has no reference."""
    told = f"no reference beside {predictor.source}; make one with `fieldlevel trust`"
    sentence = f"not known whether these maps are like the training's: {told}"
    return Trust(np.full(n_maps, np.nan), None, (), sentence)


def simulation_numbers(simulations: npt.ArrayLike | None, n: int, n_maps: int) -> IntArray:
    """A number for the simulation of each of n maps: of the one that is named, else of successive maps.

    Args:
        simulations: number or name of the simulation of each map, (n,); None where nobody has said.
        n: maps.
        n_maps: of a simulation, where nobody has said.

    Raises:
        UserError: not as many as there are maps.
    """
    if simulations is None:
        return np.arange(n) // n_maps
    numbers = np.atleast_1d(as_array(simulations)) if n == 1 else as_array(simulations)
    if numbers.shape != (n,):
        told = f"simulations of shape {numbers.shape}"
        raise UserError(f"trust: {told}; give the number or name of the simulation of each of the {n} maps")
    return np.unique(numbers, return_inverse=True)[1]
