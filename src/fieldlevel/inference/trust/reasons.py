"""In what maps are unlike those of the training, in plain words."""

from collections.abc import Sequence

import numpy as np

from fieldlevel.arrays import FloatArray
from fieldlevel.inference.trust.map_sets import effective_number
from fieldlevel.inference.trust.map_statistics import N_PIXEL_STATISTICS, power_centres
from fieldlevel.inference.trust.trust_reference import Looked, Reference
from fieldlevel.layout import Layout
from fieldlevel.wording import name_some

CLEAR = 2.5
"""Of a mean deviation, in its standard deviations."""
_CLEAR_SHARE = 0.03
"""Of the power: less is not worth a word."""
_MOST_LAYERS = 3
_ODD = 0.01
"""Chance that any map of a set like the training's is called unlike any."""
LEAST_TOLD = 0.001
"""P-value; below it lies what the held-out simulations are too few to tell."""


def reasons_of(
    reference: Reference, looked: Looked, layout: Layout, n_pixels: int, factor: str = ""
) -> tuple[str, ...]:
    """What sets maps apart, the plainest first; one thing at least.

    Args:
        reference: what the training's maps are like.
        looked: the maps.
        layout: of the training's maps.
        n_pixels: N of the maps.
        factor: name of the one that they seem to lack, empty where none.
    """
    shift, deviation = mean_deviations(reference, looked)
    of_power = _of_power(shift, deviation, power_centres(n_pixels, layout.box_size_mpc_h))
    if factor:
        told = f"multiplied by {factor} they would be like the training's (is an h missing in their unit?)"
        return (told, *of_power)
    of_pixels = _of_pixels(shift[:N_PIXEL_STATISTICS], deviation[:N_PIXEL_STATISTICS])
    reasons = [*_of_directions(reference, looked), *of_power, *of_pixels]
    return tuple(reasons or _of_layers(reference, deviation))


def mean_deviations(reference: Reference, looked: Looked) -> tuple[FloatArray, FloatArray]:
    """Mean of what is left of each statistic, and the same over its standard deviation by chance, each (S,)."""
    shift = looked.left.mean(0)
    back = np.linalg.pinv(reference.mixing)
    spread = reference.scale * np.sqrt(np.maximum(_variance(reference, looked) @ back**2, np.finfo(float).tiny))
    return shift, np.where(np.isfinite(spread), shift / spread, 0.0)


def _variance(reference: Reference, looked: Looked) -> FloatArray:
    """Of the mean of each number of a row, over sets of maps like those that were looked at, (S,)."""
    rows, between = looked.rows, reference.between
    b = len(looked.left) / rows.n_simulations
    n = effective_number(rows, reference.held_out)
    return (between + (1 - between) / b) * (1 / n + 1 / reference.held_out.n_simulations)


def _of_directions(reference: Reference, looked: Looked) -> list[str]:
    """Which alteration the maps resemble most, if they reach far along its direction."""
    spread = np.sqrt(_variance(reference, looked) @ reference.directions**2)
    reach = looked.rows.rows.mean(0) @ reference.directions / spread
    if not len(reach) or reach.max() < CLEAR:
        return []
    return [reference.direction_names[int(reach.argmax())]]


def _of_power(shift: FloatArray, deviation: FloatArray, k: FloatArray) -> list[str]:
    """Power above, below or between wavenumbers, where it deviates most and around."""
    bins = slice(N_PIXEL_STATISTICS, N_PIXEL_STATISTICS + len(k))
    ratio, sigmas = 10 ** shift[bins] - 1, deviation[bins]
    peak = int(np.abs(sigmas).argmax())
    if abs(sigmas[peak]) < CLEAR or abs(ratio[peak]) < _CLEAR_SHARE:
        return []
    alike = (np.abs(sigmas) > CLEAR / 2) & (np.sign(sigmas) == np.sign(sigmas[peak]))
    first, last = _stretch(alike, peak)
    if first == 0 and last == len(k) - 1:
        place = "at all k"
    elif last == len(k) - 1:
        place = f"at k > {k[first]:.2g} h/Mpc"
    elif first == 0:
        place = f"at k < {k[last]:.2g} h/Mpc"
    else:
        place = f"at k = {k[first]:.2g} to {k[last]:.2g} h/Mpc"
    return [f"power {place} is {_in_words(float(np.median(ratio[first : last + 1])))}"]


def _stretch(alike: FloatArray, peak: int) -> tuple[int, int]:
    """First and last of the neighbours of a bin that are alike."""
    first = last = peak
    while first > 0 and alike[first - 1]:
        first -= 1
    while last < len(alike) - 1 and alike[last + 1]:
        last += 1
    return first, last


def _of_pixels(shift: FloatArray, deviation: FloatArray) -> list[str]:
    """Mean density, the darkest and the brightest pixels, whichever deviates most."""
    places = {"the mean of the pixels": 0, "the darkest pixels": 1, "typical pixels": 6, "the brightest pixels": 11}
    name = max(places, key=lambda place: abs(deviation[places[place]]))
    if abs(deviation[places[name]]) < CLEAR:
        return []
    verb = "is" if name == "the mean of the pixels" else "are"
    return [f"{name} {verb} {_in_words(float(10 ** shift[places[name]] - 1))}"]


def _of_layers(reference: Reference, deviation: FloatArray) -> list[str]:
    """Layers whose features deviate most: what remains to be said where power and pixels are as they should be."""
    layer = reference.components.layer
    of_layers = deviation[len(deviation) - len(layer) :]
    strength = [float(np.abs(of_layers[layer == number]).max()) for number in range(len(reference.layer_names))]
    order = np.argsort(strength)[::-1][:_MOST_LAYERS]
    clear = [reference.layer_names[number] for number in order if strength[number] > CLEAR / 2]
    names = clear or [reference.layer_names[order[0]]]
    return [f"structure that neither power nor pixels tell, in layer{'s' * (len(names) > 1)} {', '.join(names)}"]


def _in_words(ratio: float) -> str:
    if ratio > 1:
        return f"{1 + ratio:.2g} times what the answers imply"
    return f"{100 * abs(ratio):.0f}% {'higher' if ratio > 0 else 'lower'} than the answers imply"


def sentence_of(p: float, reasons: Sequence[str], p_values: FloatArray) -> str:
    """What a reader needs, in a line.

    Args:
        p: the p-value that tells, of all maps together or of one.
        reasons: in what they are unlike, where they are.
        p_values: of each map by itself; those that are unlike any are named where most are not.

    Example:
        >>> sentence_of(0.41, (), np.array([0.2, 0.7, 1e-6]))
        "these maps are like the training's (p = 0.41); but for map 2, unlike any"
        >>> sentence_of(0.02, ["power at k > 10 h/Mpc is 20% lower than the answers imply"], np.array([0.02]))[:70]
        "unlike the training's (p = 0.02): power at k > 10 h/Mpc is 20% lower t"
    """
    told = f"p = {p:.2g}" if p >= LEAST_TOLD else f"p < {LEAST_TOLD}"
    if reasons:
        return f"unlike the training's ({told}): {'; '.join(reasons)}; error bars do not hold"
    odd = np.flatnonzero(p_values * len(p_values) < _ODD) if len(p_values) > 1 else np.empty(0, dtype=np.int64)
    but = f"; but for map{'s' * (len(odd) > 1)} {name_some(odd)}, unlike any" if len(odd) else ""
    return f"{'these maps are' if len(p_values) > 1 else 'this map is'} like the training's ({told}){but}"
