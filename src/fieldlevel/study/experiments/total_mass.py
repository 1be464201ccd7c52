"""What the mean of a map alone tells: the total mass of the slab against the parameters.

References:
    Villaescusa-Navarro et al. 2021, arXiv:2109.10360 (total mass against Omega_m and sigma_8).
"""

from collections.abc import Iterator, Mapping, Sequence

from fieldlevel.figures.destroyed_maps import draw_total_mass
from fieldlevel.figures.plate import Plate
from fieldlevel.study.experiment import Experiment
from fieldlevel.study.experiments.summary_networks import judge_beside_maps
from fieldlevel.study.keys import Plan
from fieldlevel.study.letter_spec import LetterSpec
from fieldlevel.study.results import LetterResults
from fieldlevel.study.verdict import Verdict


class TotalMass(Experiment):
    """The predictor that knows the mean of a map alone (`fieldlevel.study.mean_only`)."""

    kind = "mean of the map alone"

    def tests(self, spec: LetterSpec, suites: Sequence[str], twins: Mapping[str, str]) -> Plan:
        """None: no network is needed."""
        return {}

    def judge(self, results: LetterResults) -> Iterator[Verdict]:
        """Error beside that of the network on maps."""
        letter = "total mass scatters too much to tell Omega_m"
        return judge_beside_maps(results, results.mean_only, self.kind, letter)

    def plates(self, results: LetterResults) -> Iterator[Plate]:
        """Mean density against the parameters, of the first suite."""
        suite = results.suites[0]
        if suite not in results.mean_only:
            return
        mean_only = results.mean_only[suite]
        predictions = mean_only.predictions
        fit = predictions.mean[:, results.layout.cosmological_columns]
        yield Plate(
            "total_mass",
            "Total mass",
            f"Mean surface density of each test map of {suite} against {results.cosmology}, and what a network that "
            "knows nothing else could say: a monotone curve, fitted on the training maps and kept "
            "within the prior. The numbers: correlation with the mean, accuracy of the fit on the test maps.",
            "Scatter plots of the mean density of maps against a parameter, with a curve.",
            lambda: draw_total_mass(
                mean_only.mean_density, predictions.theta, fit, predictions.layout, mock=results.is_mock
            ),
            place=60,
        )
