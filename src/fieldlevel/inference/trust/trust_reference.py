"""What is kept of the maps of a training: what to expect given the answers, and how far maps of new simulations stray.

Fitted to maps that the network was trained on: the components of the layers, the regression of all statistics on the
answers, and the covariance of what is left, which makes rows of unit variance. Compared with are the rows of held-out
simulations, which neither that fit nor the weights of the network have seen.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from fieldlevel.arrays import FloatArray, IntArray
from fieldlevel.errors import UserError
from fieldlevel.inference.trust.compared import Compared
from fieldlevel.inference.trust.components import Components
from fieldlevel.inference.trust.covariances import ledoit_wolf, whitening
from fieldlevel.inference.trust.map_sets import FEWEST_HELD_OUT, Rows, set_p, unusualness
from fieldlevel.inference.trust.map_statistics import Measured
from fieldlevel.inference.trust.regression import Regression
from fieldlevel.inference.trust.single import conformal_p
from fieldlevel.inference.trust.widths import Widths

N_COMPONENTS = 4
"""Of each layer; fewer of networks of more than `_MANY_LAYERS`."""
_MANY_LAYERS = 32
ENOUGH_HELD_OUT = 20
"""Simulations, below which p at 0.05 is a guess: of K such p of a map ends at 1 / (K + 1)."""
FEWEST_FITTED = 30
"""Maps."""
FARTHEST = 6.0
"""Standard deviations that a statistic, or a number of a row, counts at most: some channels wake in one map of
thousands, and one such map must not hide what all others say."""
LEAST_REACH = 0.5
"""Of altered maps along their direction, in standard deviations: what shows less is not looked for."""
WIDTH_STEP = 0.02
"""Pixels, to which the widths of single maps are told apart."""
_VANISHING = 1e-9
"""Standard deviation of a statistic that does not vary."""


@dataclass(frozen=True, eq=False)
class Looked:
    """What is kept of maps once they were looked at.

    Attributes:
        rows: that are compared.
        left: statistics less the expected ones, (n, S): pixels, power, components of layers.
    """

    rows: Rows
    left: FloatArray

    @classmethod
    def joined(cls, parts: "Sequence[Looked]") -> "Looked":
        """Of several blocks of maps."""
        left = np.concatenate([part.left for part in parts])
        return cls(Rows.joined([part.rows for part in parts]), left)


@dataclass(frozen=True, eq=False)
class Sample:
    """Maps of a training, or of held-out simulations, that a reference is made from.

    Attributes:
        measured: of n maps.
        simulation: number of the simulation of each, (n,).
        source: number of the source of the training that each is of, (n,).
        widths: by which each map of the file was smoothed before it was looked at [pixels], (n,).
    """

    measured: Measured
    simulation: IntArray
    source: IntArray
    widths: FloatArray

    @property
    def n_simulations(self) -> int:
        """Of which the maps are."""
        return len(np.unique(self.simulation))


@dataclass(frozen=True, eq=False)
class Reference:
    """What maps like those of a training are like.

    Attributes:
        layer_names: of the network.
        components: of the statistics of its layers.
        regression: of the statistics of pixels, power and layers, of which there are S, on the answers, and where there
            are `widths` on how far a map was smoothed.
        scale: standard deviations of what is left, (S,).
        mixing: of what is left over `scale`, to rows of unit variance, (S, S).
        between: share of the variance of each number of a row that maps of one simulation have in common, (S,).
        direction_names: what is said of maps that lie along each of the directions.
        directions: along which maps lie that were altered (`alterations`), scaled to unit variance of the rows of the
            training along each, (S, D).
        held_out: rows of held-out simulations.
        compared: which maps these are of, where the network's file does not tell.
        widths: estimate how far a map was smoothed; of a network whose training maps were each smoothed differently.
    """

    layer_names: tuple[str, ...]
    components: Components
    regression: Regression
    scale: FloatArray
    mixing: FloatArray
    between: FloatArray
    direction_names: tuple[str, ...]
    directions: FloatArray
    held_out: Rows
    compared: Compared = field(default_factory=Compared)
    widths: Widths | None = None

    @classmethod
    def fit(
        cls,
        sample: Sample,
        held_out: Sample,
        altered: Mapping[str, Measured] | None = None,
        most_width: float = 0.0,
    ) -> "Reference":
        """Fit to the maps of a training.

        Args:
            sample: of the maps that the network was trained on.
            held_out: of maps that it was not.
            altered: some maps that it was trained on, after alterations, by what is said of maps that look so.
            most_width: by which the maps of the training were each smoothed, at most [pixels]; 0 where they were not.

        Raises:
            UserError: too few of either.
        """
        fitted, n_simulations = sample.measured, sample.n_simulations
        refuse_few(len(fitted), held_out.n_simulations)
        widths = Widths.fit(fitted, sample.widths, most_width) if most_width else None
        given = _given(fitted, None if widths is None else widths.squares(fitted))
        each = max(min(N_COMPONENTS, N_COMPONENTS * _MANY_LAYERS // max(len(fitted.layer_widths), 1)), 1)
        components = Components.fit(fitted.layers, given, fitted.layer_widths, each, n_simulations)
        statistics = _joined(fitted, components)
        regression = Regression.fit(given, statistics, n_simulations)
        left = statistics - regression.expected(given)
        scale = left.std(0)
        scale = np.where(scale > _VANISHING, scale, np.inf)
        bounded = (left / scale).clip(-FARTHEST, FARTHEST)
        white = whitening(ledoit_wolf(bounded))
        turn, between = _between(bounded @ white, sample.simulation)
        rows = Rows(bounded @ white @ turn, fitted.answers, sample.simulation)
        fits, mixing, none = (components, regression, scale), white @ turn, np.empty((len(scale), 0))
        made = cls(fitted.layer_names, *fits, mixing, between, (), none, rows, widths=widths)
        of_altered = {name: made.look(each, np.arange(len(each))).rows.rows for name, each in (altered or {}).items()}
        made = made._with_directions(of_altered)
        compared = made.look(held_out.measured, held_out.simulation).rows
        return replace(made, held_out=replace(compared, group=held_out.source))

    def _with_directions(self, altered: Mapping[str, FloatArray]) -> "Reference":
        """The same with the directions of alterations that show."""
        found = {name: _direction(rows, self.held_out.rows) for name, rows in altered.items()}
        telling = {name: direction for name, (direction, reach) in found.items() if reach > LEAST_REACH}
        if not telling:
            return self
        return replace(self, direction_names=tuple(telling), directions=np.stack(list(telling.values()), axis=1))

    @property
    def remarks(self) -> tuple[str, ...]:
        """What to know before believing its p-values, a line each."""
        n = self.held_out.n_simulations
        if n >= ENOUGH_HELD_OUT:
            return ()
        told = f"p-values are compared with {n} held-out simulations, fewer than {ENOUGH_HELD_OUT}"
        return (f"{told}: more of the maps like the training's than 5% may be called unlike (see fieldlevel trust)",)

    @property
    def set_remarks(self) -> tuple[str, ...]:
        """What to know besides before believing a p-value of a set, a line each."""
        few = min((each.n_simulations for each in self.held_out.by_group()), default=ENOUGH_HELD_OUT)
        if few >= ENOUGH_HELD_OUT:
            return ()
        told = f"sets of maps are also compared with {few} held-out simulations of one suite"
        wrong = "own ones may be called unlike" if few < FEWEST_HELD_OUT else "unlike ones are seldom told"
        return (f"{told}, fewer than {ENOUGH_HELD_OUT}: {wrong} (see fieldlevel trust)",)

    def scores(self, rows: Rows) -> FloatArray:
        r"""How unusual maps are, (n,).

        \(|u|^2 / \sqrt{8 S} + \max_c (u \cdot d_c)^2\) of a row u: its length, which tells anything unusual, in its
        standard deviations, and how far it goes along or against a direction of what is often wrong.
        """
        return unusualness(rows.rows, self.directions, np.ones(rows.rows.shape[1]))

    def p_values(self, rows: Rows) -> FloatArray:
        """Of maps, each by itself, (n,): `single.conformal_p`; beside held-out maps of their width if that is known."""
        scores, known = self.scores(rows), self.scores(self.held_out)
        if self.widths is None:
            return conformal_p(scores, known, self.held_out.simulation)
        p, places = np.empty(len(scores)), np.round(rows.width / WIDTH_STEP)
        for place in np.unique(places):
            near, those = self.held_out.near(place * WIDTH_STEP), places == place
            p[those] = conformal_p(scores[those], known[near], self.held_out.simulation[near])
        return p

    def set_p(self, rows: Rows) -> float:
        """Of maps together, given the answers: `map_sets.set_p`."""
        return set_p(rows, self.held_out, self.between, self.directions)

    def look(self, measured: Measured, simulation: IntArray) -> Looked:
        """Compare what was measured of maps with what is expected given the answers.

        Args:
            measured: of n maps, by the same network.
            simulation: number of the simulation of each, (n,).
        """
        squares = None if self.widths is None else self.widths.squares(measured)
        left = _joined(measured, self.components) - self.regression.expected(_given(measured, squares))
        bounded = np.nan_to_num(left / self.scale, nan=FARTHEST).clip(-FARTHEST, FARTHEST)
        rows = bounded @ self.mixing
        looked = Rows(rows.clip(-FARTHEST, FARTHEST), measured.answers, simulation)
        if squares is not None:
            looked = replace(looked, width=np.sqrt(np.nan_to_num(squares).clip(0)))
        return Looked(looked, left)


def refuse_few(n_fitted: int, n_held_out: int) -> None:
    """Refuse to tell anything from so many maps of a training and held-out simulations.

    Raises:
        UserError: with both numbers.
    """
    if n_fitted < FEWEST_FITTED or n_held_out < FEWEST_HELD_OUT:
        told = f"{n_fitted} maps of the training and {n_held_out} simulations that it has not seen"
        needed = f"{FEWEST_FITTED} and {FEWEST_HELD_OUT} are needed"
        raise UserError(f"trust: {told}; {needed} to tell maps like the training's from others (fieldlevel trust)")


def _given(measured: Measured, squares: FloatArray | None) -> FloatArray:
    """What the statistics of maps are expected from: the answers to them, and how far they were smoothed, (n, G)."""
    return measured.answers if squares is None else np.column_stack([measured.answers, squares, squares**2])


def _joined(measured: Measured, components: Components) -> FloatArray:
    return np.concatenate([measured.pixels, measured.power, components.of(measured.layers)], axis=1)


def _direction(altered: FloatArray, usual: FloatArray) -> tuple[FloatArray, float]:
    """Fisher's discriminant of altered maps (m, S) from those of the training (n, S), of unit variance in these.

    Returns:
        The direction, (S,), and how far the altered maps lie along it.
    """
    shift = altered.mean(0) - usual.mean(0)
    spread = ledoit_wolf(altered - altered.mean(0)) + ledoit_wolf(usual)
    direction = np.linalg.solve(spread, shift)
    direction = direction / max(float((usual @ direction).std()), np.finfo(float).tiny)
    return direction, float(shift @ direction)


def _between(rows: FloatArray, simulation: IntArray) -> tuple[FloatArray, FloatArray]:
    """Rotation in which means over simulations are uncorrelated, and the share that is common to a simulation."""
    groups = [rows[simulation == number] for number in np.unique(simulation)]
    n_maps = float(np.mean([len(group) for group in groups]))
    values, turn = np.linalg.eigh(ledoit_wolf(np.stack([group.mean(0) for group in groups])))
    share = (n_maps * values - 1) / max(n_maps - 1, 1)
    return turn, share.clip(0, 1)
