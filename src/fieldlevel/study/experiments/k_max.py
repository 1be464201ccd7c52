"""Networks on maps without the Fourier modes beyond a wavenumber."""

import math
from collections.abc import Iterator, Sequence

from fieldlevel.figures.plate import Plate
from fieldlevel.figures.scale_curves import draw_information, draw_losses
from fieldlevel.layout import Layout
from fieldlevel.study.experiments.ladder import Ladder, where_in_words
from fieldlevel.study.keys import FIRST
from fieldlevel.study.letter_spec import LetterSpec
from fieldlevel.study.published_accuracies import K_MAX_LOSSES
from fieldlevel.study.results import LetterResults

PUBLISHED_MAPS = Layout(n_pixels=256)
"""Those behind `K_MAX_LOSSES`."""


class WavenumberCuts(Ladder):
    """A sharp cut takes out the modes beyond k_max; none leaves maps as they are."""

    kind = "k_max"
    unit = "h/Mpc"
    uncut = math.inf
    claim = "Small scales hold information: the lower the cut, the worse {name} is known."
    letter = (
        "not in the letter; a public re-run on IllustrisTNG: the validation loss "
        f"−{-K_MAX_LOSSES[math.inf]} becomes −{-K_MAX_LOSSES[20.0]} at 20 h/Mpc, −{-K_MAX_LOSSES[5.0]} at 5 h/Mpc"
    )

    def scales(self, spec: LetterSpec) -> Sequence[float]:
        """Those of the spec."""
        return spec.k_max

    def plates(self, results: LetterResults) -> Iterator[Plate]:
        """Validation loss and error against the cut."""
        if not self.steps(results):
            return
        layout = results.layout
        yield self._loss_plate(results)
        yield Plate(
            "information_k_max",
            "Information against k_max",
            f"Error of networks trained and tested on maps after a sharp cut at k_max, {where_in_words(results)} Open "
            f"symbols: {_end_in_words(layout)}.",
            f"Curves of the error of {results.cosmology} that change with the scale.",
            lambda: draw_information(
                self.curves(results), "k_max", layout=layout, k_end=_end(layout), mock=results.is_mock
            ),
            place=80,
        )

    def _loss_plate(self, results: LetterResults) -> Plate:
        losses = results.losses
        cuts = {key: key.scale for key in losses if key.kind == self.kind and key.scale is not None}
        curves = {
            suite: {at: losses[key][suite] for key, at in {**cuts, FIRST: math.inf}.items()} for suite in results.suites
        }
        n_pixels = PUBLISHED_MAPS.n_pixels
        published = "CAMELS IllustrisTNG, public re-run"
        ends = dict.fromkeys(curves, _end(results.layout)) | {published: _end(PUBLISHED_MAPS)}
        return Plate(
            "loss_k_max",
            "Validation loss against k_max",
            "Validation loss, as they predict, of networks trained on maps without the Fourier modes beyond k_max. "
            f"Open symbols: {_end_in_words(results.layout)}. Dashed: the lowest losses of a public re-run of the "
            f"released recipe on CAMELS maps of IllustrisTNG, {n_pixels} x {n_pixels} pixels, to "
            f"{ends[published]:.3g} h/Mpc, 900 training simulations.",
            "Curves of the loss that fall as smaller scales are let in.",
            lambda: draw_losses(curves, {published: K_MAX_LOSSES}, ends, mock=results.is_mock),
            place=80,
        )


def _end(layout: Layout) -> float:
    return layout.largest_wavenumber(layout.n_pixels)


def _end_in_words(layout: Layout) -> str:
    return (
        f"maps of {layout.n_pixels} x {layout.n_pixels} pixels without a cut, drawn where they end, at "
        f"{_end(layout):.3g} h/Mpc (corner of the Fourier plane, sqrt(2) times the Nyquist wavenumber)"
    )
