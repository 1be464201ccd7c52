"""Whether networks fail where the information is taken from the maps.

References:
    Villaescusa-Navarro et al. 2021, arXiv:2109.10360. Schreiber & Schmitz 1996, Phys. Rev. Lett. 77, 635.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from fieldlevel.data.transform_spec import TransformSpec
from fieldlevel.figures.destroyed_maps import draw_null_tests
from fieldlevel.figures.plate import Plate
from fieldlevel.statistics.pairs import on_own_suite
from fieldlevel.statistics.ratios import error_ratio
from fieldlevel.study.experiment import Experiment, on_own
from fieldlevel.study.experiments.inference_claims import judge_inference
from fieldlevel.study.keys import ExperimentKey, Plan
from fieldlevel.study.letter_spec import LetterSpec
from fieldlevel.study.results import LetterResults
from fieldlevel.study.verdict import PRECONDITION, Finding, Verdict, above, conclude, finding_if_known

FAMILY = "null tests"
"""They share a figure."""
FAILING_RATIO = 2.0
"""A network fails where its error grows by this factor."""


@dataclass(frozen=True)
class NullTest(Experiment):
    """The networks of the pairs on the test maps of their own suite, destroyed in one way; nothing is trained.

    Attributes:
        kind: of the transform (`TransformSpec.kind`), one of the package or a registered one, and of the experiment.
        done_to_maps: what is done to the maps, in words.
        claim: in one sentence.
        infers: whether the networks should still infer, or make no usable prediction.
        names: of the parameters that the claim is about; those of all claims when empty.
        letter: what the letter found.
        transform: of the test maps; that of the kind when omitted.
    """

    kind: str
    done_to_maps: str
    claim: str
    infers: bool = False
    names: tuple[str, ...] = ()
    letter: str = "not in the letter"
    transform: TransformSpec | None = None

    def tests(self, spec: LetterSpec, suites: Sequence[str], twins: Mapping[str, str]) -> Plan:
        """Each network on its own suite."""
        transform = self.transform or TransformSpec(self.kind, seed=1)
        tests = on_own(spec.train, suites, spec.other_seeds)
        key = ExperimentKey(self.kind, family=FAMILY, detail=self.done_to_maps)
        return {key: tuple(replace(test, transform=transform) for test in tests)}

    def judge(self, results: LetterResults) -> Iterator[Verdict]:
        """R² of the parameters of the claim."""
        known = [name for name in self.names if name in results.cosmological]
        names = known or results.judged
        claim = self.claim
        if self.names and not known:
            claim = claim.replace(" and ".join(self.names), " and ".join(names))
        tested = on_own_suite(results.of(self.kind))
        return judge_inference(self.kind, claim, results.own, tested, names, infers=self.infers, letter=self.letter)

    def plates(self, results: LetterResults) -> Iterator[Plate]:
        """One figure for all null tests, which the first that was done brings."""
        done = results.family(FAMILY)
        if next(iter(done), None) != ExperimentKey(self.kind):
            return
        suite = results.suites[0]
        panels = {"maps": results.own[suite]}
        panels |= {key.label: on_own_suite(tested)[suite] for key, tested in done.items()}
        yield Plate(
            "null_tests",
            "Null tests",
            f"The network of {suite} on its own test maps, and on the same maps with information taken away: "
            f"{', '.join(key.detail for key in done)}. Triangles: means beyond the panel.",
            "Scatter plots of the posterior mean against the truth, one column for each kind of map.",
            lambda: draw_null_tests(panels, mock=results.is_mock),
            place=50,
        )


class RandomPhases(NullTest):
    """That a network needs more than the mean and the power spectrum of the logarithm of a map, which is what it reads.

    Only these two are kept. Mean, power spectrum and PDF of the density are not: a Gaussian field stands in the place
    of a logarithm that was skewed, so the bright peaks are gone, and with them most of the mean and of the power. That
    the network fails does not say, therefore, that it reads more than the power spectrum of the density. Surrogates
    with the power spectrum and the PDF of the density (Schreiber & Schmitz 1996) would be no null test: few bright
    peaks carry most of the power, and force phases that correlate with those of the map.
    """

    def judge(self, results: LetterResults) -> Iterator[Verdict]:
        """Error beside that on the maps themselves."""
        networks, names, findings = results.own, results.judged, dict[str, Finding]()
        for suite, result in on_own_suite(results.of(self.kind)).items():
            ratios = error_ratio(networks[suite].predictions, result.predictions)
            for name in names:
                text, outcome = f"RMSE ratio {ratios[name].interval()}", above(ratios[name], FAILING_RATIO)
                findings[f"{suite} {name}"] = finding_if_known(networks[suite], [name], text, outcome)
        return conclude(
            self.kind,
            self.claim,
            f"RMSE above {FAILING_RATIO:g} times that on the maps themselves beyond the error, for "
            f"{' and '.join(names)}; mean and power spectrum of the density itself are not kept; {PRECONDITION}",
            self.letter,
            findings,
        )


NULL_TESTS = (
    NullTest(
        "mean map",
        "every pixel the mean",
        "Given its mean in every pixel instead of a map, the network makes no usable prediction.",
        letter="nothing is inferred",
    ),
    NullTest(
        "shuffled pixels",
        "pixels in random order",
        "Given its pixels in random order instead of a map, the network makes no usable prediction.",
        letter="nothing is inferred",
    ),
    RandomPhases(
        "random phases",
        "Fourier modes with random phases",
        "With random phases, which keep mean and power spectrum of the logarithm of the map, the network fails: it "
        "reads more than these two.",
    ),
    NullTest(
        "no monopole",
        "every map scaled to one mean",
        "The network does not live on the mean of the map: scaled to one mean, maps still tell Omega_m.",
        infers=True,
        names=("Omega_m",),
    ),
)
