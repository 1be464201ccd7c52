"""Networks on smoothed maps.

References:
    Villaescusa-Navarro et al. 2021, arXiv:2109.10360 (Fig. 4).
"""

from collections.abc import Iterator, Sequence

from fieldlevel.figures.plate import Plate
from fieldlevel.figures.scale_curves import N_SMOOTHED_SHOWN, draw_information, draw_smoothing_pairs
from fieldlevel.study.experiments.ladder import Ladder, by_suites, suites_of, where_in_words
from fieldlevel.study.letter_spec import LetterSpec
from fieldlevel.study.results import LetterResults


class Smoothing(Ladder):
    """A Gaussian takes out the small scales; none leaves maps as they are."""

    kind = "smoothing"
    unit = "px"
    uncut = 0.0
    claim = "Small scales hold information: the more a map is smoothed, the worse {name} is known."
    letter = "IllustrisTNG: all scales 3.4%, 1 px 5.1%, 2 px 6.8%, 3 px 8.8%"

    def scales(self, spec: LetterSpec) -> Sequence[float]:
        """Those of the spec."""
        return spec.smoothing

    def plates(self, results: LetterResults) -> Iterator[Plate]:
        """The error against the smoothing, then residuals map by map."""
        steps = {scale: by_suites(each) for scale, each in self.steps(results).items()}
        if not steps:
            return
        pairs = {
            suites_of(pair): {scale: each[suites_of(pair)] for scale, each in steps.items()} for pair in results.pairs
        }
        scales = ", ".join(f"{scale:g}" for scale in sorted(steps))
        number = "four" if len(pairs) == 4 else str(len(pairs))
        yield Plate(
            "fig4_smoothing",
            "Figure 4",
            "Error of networks trained and tested on maps after smoothing by a Gaussian, in pixels (below) and Mpc/h "
            "(above), " + where_in_words(results),
            f"Curves of the error of {results.cosmology} that change with the scale.",
            lambda: draw_information(self.curves(results), "smoothing", layout=results.layout, mock=results.is_mock),
            place=40,
        )
        yield Plate(
            "fig4_residuals",
            "Figure 4, map by map",
            f"Posterior mean minus truth of networks trained and tested on maps smoothed by a Gaussian of {scales} "
            f"pixels, for all {number} pairs; error bars of up to {N_SMOOTHED_SHOWN} maps, side by side at their "
            "truth. The numbers are the mean of sigma over mu, over all tested maps.",
            "Scatter plots of residuals in one colour for each smoothing.",
            lambda: draw_smoothing_pairs(pairs, mock=results.is_mock),
            place=41,
        )
