r"""Several networks that answer together: the mixture of their posteriors.

With weights w_k that add up to one, p(theta | x) = sum_k w_k p_k(theta | x), so

    mu = sum_k w_k mu_k    and    sigma^2 = sum_k w_k (sigma_k^2 + (mu_k - mu)^2):

where members disagree, the error bar grows. What all members get wrong alike stays wrong.

Weights by trust ask each member whether the maps that are given, all together, are like those of its training
(`inference.trust`). Members that do not call them unlike answer, with equal weights; where all do, all of them answer,
and the maps are called unlike. So networks of several suites answer for their own suite as well as that of the suite
alone does. A single map tells far less of the suite than a set of them.

Networks of several suites agree on what Omega_m and sigma_8 are and not on feedback: they answer together for the
`outputs` that are asked for, of which each tells its marginal posterior.

Weights by validation loss are w_k ~ exp(-L_k). Where the loss is a mean negative log likelihood, w_k is the geometric
mean of the likelihoods of the validation maps; losses are comparable only between networks of one kind of head that
were validated on the same maps.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, NoReturn, overload

import numpy as np
import numpy.typing as npt
from torch import Tensor

from fieldlevel.arrays import BoolArray, FloatArray, as_array
from fieldlevel.data.given import as_maps
from fieldlevel.data.map_records import MapRecord
from fieldlevel.data.seen import SeenSource
from fieldlevel.errors import UserError, shown
from fieldlevel.estimators.densities import Mixture
from fieldlevel.inference.posterior import Posterior
from fieldlevel.inference.predictor import Predictor
from fieldlevel.inference.predictor import load as load_predictor
from fieldlevel.inference.trust.judging import Trust, reference_of
from fieldlevel.layout import Layout
from fieldlevel.progress import Listener, ignore
from fieldlevel.progress_bars import telling
from fieldlevel.wording import joined

Weighting = Literal["equal", "validation loss", "trust"]
Several = list[str] | list[Path] | list[str | Path] | tuple[str | Path, ...]
"""Weights files, or names of networks of the package."""


@dataclass(frozen=True, eq=False)
class Ensemble:
    """Networks of the same outputs on the same kind of maps; it takes maps as a `Predictor` does.

    Attributes:
        members: the networks.
        weights: of each, adding up to one, (K,).
        outputs: names of the parameters that are answered, (P,), which all members infer among others.
        by_trust: whether members that find the maps unlike those of their training leave the answer to the others.
    """

    members: tuple[Predictor, ...]
    weights: FloatArray
    outputs: tuple[str, ...]
    by_trust: bool = False

    @classmethod
    def of(
        cls, members: Sequence[Predictor], weights: Weighting = "equal", outputs: Sequence[str] | None = None
    ) -> "Ensemble":
        """An ensemble of networks that fit together.

        Args:
            members: one or more.
            weights: `"equal"`, or by `"validation loss"` or `"trust"`: see the head of the module.
            outputs: names of the parameters to answer, all that each member infers when None.

        Raises:
            UserError: no member, members for other maps, parameters or priors, no such weighting, losses that cannot be
                compared, or outputs that a member lacks.
        """
        if not members:
            raise UserError("ensemble: no network; give one or more weights files")
        names = members[0].layout.names if outputs is None else _checked(outputs, members)
        for other in members[1:]:
            _refuse_misfit(members[0], other, None if outputs is None else names)
        return cls(tuple(members), _weights(members, weights), names, weights == "trust")

    @property
    def layout(self) -> Layout:
        """Of the training maps, with the parameters that are answered."""
        return self.members[0].layout.select(self.outputs)

    @property
    def n_pixels(self) -> int:
        """Pixels a side of the maps."""
        return self.members[0].n_pixels

    @property
    def field(self) -> str:
        """Of the maps."""
        return self.members[0].spec.field

    @property
    def is_mock(self) -> bool:
        """Whether any member was trained on mock maps."""
        return any(member.is_mock for member in self.members)

    @property
    def seen_sources(self) -> tuple[SeenSource, ...]:
        """What the members have seen, what they were calibrated with included."""
        return tuple(source for member in self.members for source in member.seen_sources)

    @property
    def remarks(self) -> tuple[str, ...]:
        """What one should know of the members, each remark once."""
        return tuple(dict.fromkeys(remark for member in self.members for remark in member.remarks))

    def remarks_on(self, made_from: MapRecord | None) -> tuple[str, ...]:
        """The same with what there is to say of these maps: `Predictor.remarks_on`."""
        return tuple(dict.fromkeys(remark for member in self.members for remark in member.remarks_on(made_from)))

    def outside_prior(self, mean: npt.ArrayLike | Tensor, std: npt.ArrayLike | Tensor) -> BoolArray:
        """Which answers no posterior inside the prior can have: `Layout.outside_prior`."""
        return self.layout.outside_prior(mean, std)

    def transfer_std(self, mean: npt.ArrayLike | Tensor, std: npt.ArrayLike | Tensor) -> FloatArray:
        """Standard deviations for maps of a suite that no member was trained on.

        The variance is the mean of those that the members have there, each at the moments of the mixture.

        Args:
            mean: means of the mixture as `predict` gives them, (n, P).
            std: its standard deviations, (n, P).

        Returns:
            (n, P) in physical units; NaN for parameters of which a member knows nothing there.

        Raises:
            UserError: a member's errors on other suites were not measured.
        """
        given = as_array(mean), as_array(std)
        each = [self._transfer_std(member, *given) for member in self.members]
        if len(each) == 1:
            return each[0]
        variance: FloatArray = np.tensordot(self.weights, np.square(each), 1)
        return np.asarray(np.sqrt(variance))

    def _transfer_std(self, member: Predictor, mean: FloatArray, std: FloatArray) -> FloatArray:
        """Of a member, whose other parameters, of which each column is independent, may be anything."""
        columns, layout = self._columns(member), member.layout
        every, wide = (np.tile(values, (len(mean), 1)) for values in (layout.lows, layout.highs - layout.lows))
        every[:, columns], wide[:, columns] = mean, std
        return member.transfer_std(every, wide)[:, columns]

    def _columns(self, member: Predictor) -> list[int]:
        """Where a member has the parameters that are answered."""
        return [member.layout.column(name) for name in self.outputs]

    @property
    def transfer_guarantee(self) -> str:
        """What may be said of `transfer_std`, in a sentence: that of the member that guarantees least."""

        def n_other_suites(member: Predictor) -> int:
            return -1 if member.transfer_errors is None else member.transfer_errors.n_other_suites

        return min(self.members, key=n_other_suites).transfer_guarantee

    @property
    def embedding(self) -> NoReturn:
        """There is none.

        Raises:
            UserError: always, with what to take.
        """
        raise UserError("embedding: each member has one of its own; take ensemble.members[0].embedding, ...")

    def __repr__(self) -> str:
        return f"<Ensemble of {len(self.members)}: {', '.join(map(repr, self.members))}>"

    def predict(
        self,
        maps: npt.ArrayLike | Tensor,
        batch_size: int = 128,
        listener: Listener = ignore,
        *,
        anyway: bool = False,
        verbose: bool = False,
    ) -> tuple[FloatArray, FloatArray]:
        """Mean and standard deviation of the mixture, in physical units; arguments as of `Predictor.predict`."""
        if self.by_trust and len(given := as_maps(maps, self.n_pixels)):
            found = self.posterior(given, batch_size, listener, anyway=anyway, verbose=verbose)
            return found.moments or (found.mean, found.std)
        with telling(listener, verbose) as told:
            moments = [
                self._chosen(member, member.predict(maps, batch_size, told, anyway=anyway)) for member in self.members
            ]
        return _mixed(moments, self.weights)

    def posterior(
        self,
        maps: npt.ArrayLike | Tensor,
        batch_size: int = 128,
        listener: Listener = ignore,
        *,
        simulations: npt.ArrayLike | None = None,
        anyway: bool = False,
        verbose: bool = False,
    ) -> Posterior:
        """The mixture of the members' posteriors; arguments and errors of `Predictor.posterior`.

        It is joint where those of all members are.
        """
        with telling(listener, verbose) as told:
            each = [
                self._answered(member, member.posterior(maps, batch_size, told, simulations=simulations, anyway=anyway))
                for member in self.members
            ]
        if len(each) == 1:
            return each[0]
        trust = _joined([posterior.trust for posterior in each])
        if not self.by_trust:
            return self._mixture(each, self.weights, trust)
        chosen, trust = self._believed(each)
        return self._mixture(chosen, np.full(len(chosen), 1 / len(chosen)), trust)

    def _believed(self, each: Sequence[Posterior]) -> tuple[list[Posterior], Trust | None]:
        """What those members say that do not find the maps unlike, all where all do, and what there is to say of it."""
        pairs = list(zip(self.members, each, strict=True))
        alike = [pair for pair in pairs if pair[1].trust is None or not pair[1].trust.is_unlike]
        known = [posterior.trust for _, posterior in pairs if posterior.trust is not None]
        if not known:
            return list(each), None
        trust = Trust.of_alternatives(known)
        names = joined(list(dict.fromkeys(Path(member.source).stem for member, _ in alike)))
        told = f"the maps are like those of the training of {names}; the others do not answer"
        remark = told if alike else "no network was trained on such maps; all of them answer"
        told_all = trust.remarks if len(alike) == len(pairs) else (remark, *trust.remarks)
        return [posterior for _, posterior in alike or pairs], replace(trust, remarks=told_all)

    def _mixture(self, each: Sequence[Posterior], weights: FloatArray, trust: Trust | None) -> Posterior:
        if len(each) == 1:
            return replace(each[0], trust=trust)
        mixture = Mixture([posterior.density for posterior in each], weights.tolist())
        moments = _mixed([posterior.moments for posterior in each if posterior.moments is not None], weights)
        return replace(each[0], density=mixture, moments=moments, trust=trust)

    def _answered(self, member: Predictor, posterior: Posterior) -> Posterior:
        """What a member says of the parameters that are answered."""
        moments = None if posterior.moments is None else self._chosen(member, posterior.moments)
        density = posterior.density.marginal(self._columns(member))
        return replace(posterior, density=density, layout=self.layout, moments=moments)

    def _chosen(self, member: Predictor, moments: tuple[FloatArray, FloatArray]) -> tuple[FloatArray, FloatArray]:
        mean, std = (values[:, self._columns(member)] for values in moments)
        return mean, std


def _mixed(moments: Sequence[tuple[FloatArray, FloatArray]], weights: FloatArray) -> tuple[FloatArray, FloatArray]:
    if len(moments) == 1:
        return moments[0]
    means, stds = (np.stack(each) for each in zip(*moments, strict=True))
    mean = np.tensordot(weights, means, 1)
    return mean, np.sqrt(np.tensordot(weights, stds**2 + (means - mean) ** 2, 1))


@overload
def load(
    path: str | Path, device: str = "auto", *, weights: Weighting = "equal", outputs: Sequence[str] | None = None
) -> Predictor: ...
@overload
def load(
    path: Several, device: str = "auto", *, weights: Weighting = "equal", outputs: Sequence[str] | None = None
) -> Ensemble: ...
def load(
    path: str | Path | Several,
    device: str = "auto",
    *,
    weights: Weighting = "equal",
    outputs: Sequence[str] | None = None,
) -> Predictor | Ensemble:
    """Load a weights file or a network that comes with the package, or several of them as an ensemble.

    Args:
        path: a `weights.safetensors` written by this package, or a bare name such as `"MockTNG"`
            (`inference.packaged`); where a file of that name exists, it is loaded. A list of these is an ensemble.
        device: where to predict.
        weights: of the members of an ensemble, `"equal"`, or by `"validation loss"` or `"trust"`.
        outputs: names of the parameters that an ensemble is to answer, which all members infer; those of networks of
            different suites are the cosmological ones. All that the members infer when None.

    Returns:
        A `Predictor`, or an `Ensemble` of a list; it computes in float32 either way.

    Raises:
        UserError: not such a file, one of another version, or one for other parameters; no network of that name;
            members that do not fit together.

    Example:
        >>> load("MockTNG", "cpu").n_pixels, len(load(["MockTNG"], "cpu").members)
        (256, 1)
        >>> load(["MockTNG", "MockSIMBA"], "cpu", outputs=["Omega_m", "sigma_8"]).layout.names
        ('Omega_m', 'sigma_8')
    """
    if isinstance(path, list | tuple):
        return Ensemble.of([load_predictor(each, device) for each in path], weights, outputs)
    if weights != "equal":
        raise UserError(f"weights = {shown(weights)}: of the members of an ensemble; give a list of networks")
    if outputs is not None:
        raise UserError(f"outputs = {shown(outputs)}: of an ensemble; give a list of networks, or of this one alone")
    return load_predictor(path, device)


def _joined(trusts: Sequence[Trust | None]) -> Trust | None:
    """What the members together find of the maps, as far as any of them can tell."""
    known = [trust for trust in trusts if trust is not None]
    return Trust.of_members(known) if known else None


def _checked(outputs: Sequence[str], members: Sequence[Predictor]) -> tuple[str, ...]:
    """Names of parameters that all members infer, each once."""
    names = (outputs,) if isinstance(outputs, str) else tuple(outputs)
    told = f"outputs = {shown(' '.join(map(str, names)))}"
    if not names or len(set(names)) < len(names):
        raise UserError(f"{told}: give one parameter or more, each once")
    for member in members:
        if lacking := [name for name in names if not isinstance(name, str) or not member.layout.has(name)]:
            known = ", ".join(member.layout.names)
            raise UserError(f"{told}: {member.source} infers no {shown(lacking[0])}; choose from {known}")
    return names


def _refuse_misfit(first: Predictor, other: Predictor, names: Sequence[str] | None) -> None:
    """Refuse two members that do not infer the same of the same maps, with the first difference.

    Args:
        first: a member.
        other: another.
        names: of the parameters that are answered; None where they are to be all of both.
    """
    for what, one, another in _facts(first, other, names):
        if one != another:
            told = f"{other.source}: {what} {shown(another)}, but {first.source} has {shown(one)}"
            wanted = "an ensemble takes the same maps and infers the same parameters"
            raise UserError(f"{told}; {wanted}{_remedy(first, other) if what == _OUTPUTS else ''}")
    layout = first.layout if names is None else first.layout.select(names)
    own = [each.name for each in layout.parameters if not (each.cosmological or each.suite)]
    suites = [_labelled_suites(member) for member in (first, other)]
    if own and suites[0] != suites[1]:
        told = f"{other.source}: trained on {shown(', '.join(suites[1]))}, {first.source} on {', '.join(suites[0])}"
        meant = f"where {shown(', '.join(own))} mean something else; give networks of one suite"
        raise UserError(f"{told}, {meant}{_remedy(first, other)}")


def _remedy(first: Predictor, other: Predictor) -> str:
    """What two networks could answer together, if anything."""
    shared = [each.name for each in first.layout.cosmological if other.layout.has(each.name)]
    return f", or choose what they share with outputs (--outputs {' '.join(shared)})" if shared else ""


_OUTPUTS = "outputs"


def _facts(first: Predictor, other: Predictor, names: Sequence[str] | None) -> list[tuple[str, Any, Any]]:
    def facts(member: Predictor) -> list[tuple[str, Any]]:
        layout = member.layout if names is None else member.layout.select(names)
        return [
            (_OUTPUTS, ", ".join(layout.names)),
            ("priors", ", ".join(f"{each.low:g} to {each.high:g}" for each in layout.parameters)),
            ("maps of pixels a side", member.n_pixels),
            ("field", member.spec.field),
            ("slabs", layout.slabs),
            ("redshift", layout.redshift),
            ("unit", layout.unit(member.spec.field)),
        ]

    return [(what, one, another) for (what, one), (_, another) in zip(facts(first), facts(other), strict=True)]


def _labelled_suites(member: Predictor) -> tuple[str, ...]:
    return tuple(sorted({source.suite for source in member.spec.all_sources if source.labelled}))


def _weights(members: Sequence[Predictor], weights: str) -> FloatArray:
    if weights == "trust" and (lacking := [each.source for each in members if reference_of(each) is None]):
        told = f"{lacking[0]}: has no reference beside it that tells maps like its training's from others"
        raise UserError(f"{told}; make one with `fieldlevel trust`, or give weights = 'equal'")
    if weights in ("equal", "trust"):
        return np.full(len(members), 1 / len(members))
    if weights != "validation loss":
        raise UserError(f"weights = {shown(weights)}: allowed are 'equal', 'validation loss' and 'trust'")
    for other in members:
        if _validated_on(other) != _validated_on(members[0]):
            told = f"{other.source}: of another head, or validated on other maps than {members[0].source}"
            raise UserError(f"{told}, so their losses tell nothing; give weights = 'equal'")
    losses = np.array([_loss(member) for member in members])
    likelihood = np.exp(losses.min() - losses)
    relative: FloatArray = likelihood / likelihood.sum()
    return relative


def _validated_on(member: Predictor) -> tuple[Any, ...]:
    spec = member.spec
    seen = [(each.suite, each.set_name, each.validation) for each in member.sources]
    return spec.head, spec.labels, spec.transform, seen, member.provenance.get("data_fingerprint")


def _loss(member: Predictor) -> float:
    loss = member.provenance.get("validation_loss")
    if isinstance(loss, bool) or not isinstance(loss, int | float) or not np.isfinite(loss):
        raise UserError(f"{member.source}: its file tells no validation loss; give weights = 'equal'")
    return float(loss)
