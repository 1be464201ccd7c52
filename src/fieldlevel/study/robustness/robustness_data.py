"""The data of a robustness study: a folder with three suites or more, or all mock suites, which are simulated."""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path

from fieldlevel.data.cmd_format import list_suites
from fieldlevel.data.suite import open_suite
from fieldlevel.data.transform_spec import TransformSpec
from fieldlevel.errors import UserError
from fieldlevel.layout import Layout, Parameter
from fieldlevel.progress import Listener, ignore
from fieldlevel.spec_io import digest, in_plain_types
from fieldlevel.spellings import without_spaces
from fieldlevel.statistics.shared_parameters import main_parameters
from fieldlevel.study.letter_data import LetterData, prepare_data
from fieldlevel.study.letter_plan import check_suites
from fieldlevel.study.letter_spec import LetterSpec
from fieldlevel.study.robustness.folds import Folds, check_folds
from fieldlevel.study.robustness.robust_methods import methods_of
from fieldlevel.study.robustness.robustness_checks import check_robustness
from fieldlevel.study.robustness.robustness_spec import RobustnessSpec
from fieldlevel.study.robustness.rows import Rows
from fieldlevel.suites import camels_suites, is_mock, is_nbody, mock_suites

LEAST_SUITES = 3


def prepare_robustness(
    spec: RobustnessSpec,
    directory: Path | None,
    out: Path,
    device: str = "auto",
    workers: int = 1,
    listener: Listener = ignore,
) -> LetterData:
    """The data folder of a study: the user's own, or mock suites that are simulated now unless they are there.

    Arguments as of `letter_data.prepare_data`.

    Raises:
        UserError: settings that cannot be used, or a folder that holds less than three suites.
    """
    spec = in_plain_types(RobustnessSpec, spec)
    check_robustness(spec)
    suites = choose_suites(spec, directory)
    data = prepare_data(as_letter(spec, suites), directory, out, device, workers, listener)
    opened = dict(data.opened)
    if spec.test_set:
        for suite in suites:
            found = open_suite(data.directory, suite, spec.train.field, spec.test_set, check=False)
            found.digest_maps(listener)
            opened[suite, spec.test_set] = found
    known = (opened[key].fingerprint for key in sorted(opened))
    data = replace(data, opened=opened, key=digest(spec, *known), earlier=())
    claimed_parameters(spec, (data.of(suite).layout for suite in suites))
    folds = folds_of(spec, data)
    methods_of(spec, have_siblings=folds.have_siblings)
    check_folds(folds)
    return data


def choose_suites(spec: RobustnessSpec, directory: Path | None) -> tuple[str, ...]:
    """Those of the spec, else all that the folder holds, else all mock suites.

    Raises:
        UserError: less than three.
    """
    suites = spec.suites or (mock_suites() if directory is None else _held(spec, directory))
    if len(suites) >= LEAST_SUITES:
        check_suites(suites)
    else:
        told = f"{directory or 'suites'}: {', '.join(suites) or 'no suite'}"
        raise UserError(
            f"{told} in {spec.train.field} {spec.train.set_name}; robustness leaves one suite out and trains on the "
            "others, so three are needed: name them with --suites, or add some"
        )
    return suites


def refuse_few(suites: Sequence[str]) -> None:
    """Refuse a letter of too few suites to leave one out of.

    Raises:
        UserError: with what to do.
    """
    if len(suites) < LEAST_SUITES:
        told = f"suites: {', '.join(suites)}" if suites else "only: 'robustness'"
        raise UserError(f"{told}: robustness leaves one of three suites or more out; name them with --suites")


def _held(spec: RobustnessSpec, directory: Path) -> tuple[str, ...]:
    """Suites with baryons in the folder: real ones where there are three, else all that are of one kind."""
    wanted = spec.train.field, spec.train.set_name
    found = [
        files.suite
        for files in list_suites(directory)
        if (files.field, files.set_name) == wanted and not is_nbody(files.suite)
    ]
    known = [suite for suite in (*camels_suites(), *mock_suites()) if suite in found]
    ordered = list(dict.fromkeys([*known, *found]))
    real = [suite for suite in ordered if not is_mock(suite)]
    if len(real) in (0, len(ordered)):
        return tuple(ordered)
    if len(real) >= LEAST_SUITES:
        return tuple(real)
    raise UserError(
        f"{directory}: holds mock suites and others, {', '.join(ordered)}; name three or more with --suites"
    )


def as_letter(spec: RobustnessSpec, suites: tuple[str, ...]) -> LetterSpec:
    """A letter with the same data, which does nothing but its pairs."""
    simulate, train = replace(spec.simulate, twin=False), replace(spec.train, transform=TransformSpec())
    return LetterSpec(suites=suites, only=("all pairs",), numerics=False, simulate=simulate, train=train)


def claimed_parameters(spec: RobustnessSpec, layouts: Iterable[Layout]) -> tuple[Parameter, ...]:
    """What claims are about: the cosmological parameters that all suites have and that networks are to infer.

    Raises:
        UserError: networks infer none of them.
    """
    shared, outputs = main_parameters(layouts), spec.train.outputs
    if found := tuple(parameter for parameter in shared if not outputs or parameter.name in outputs):
        return found
    names = " ".join(parameter.name for parameter in shared)
    told = f"train.outputs = {' '.join(outputs)}: nothing of what all suites have in common"
    raise UserError(f"{told}; name some of {names}, or leave it out")


def folds_of(spec: RobustnessSpec, data: LetterData) -> Folds:
    """Suites and rows of a study on some data."""
    opened = {suite: data.of(suite) for suite in data.suites}
    names = [each.name for each in main_parameters(suite.layout for suite in opened.values())]
    rows = {name: Rows.of(spec.train.split, suite.n_simulations, spec.choice_part) for name, suite in opened.items()}
    cosmology = {
        name: suite.layout.to_unit_interval(suite.parameters)[:, [suite.layout.column(each) for each in names]]
        for name, suite in opened.items()
    }
    seeds = {suite.layout.initial_conditions for suite in opened.values()}
    return Folds(spec, data.suites, rows, cosmology, data.layout.n_maps, len(seeds) == 1 and "" not in seeds)


def told_of_transform(spec: RobustnessSpec, data: LetterData) -> dict[str, str]:
    """What every network of a study reads in the place of the maps, in words; nothing where it reads them as they are.

    Args:
        spec: of the study.
        data: the maps.
    """
    transform, suite = spec.train.transform, data.of(data.suites[0])
    if transform.kind == "none":
        return {}
    told = without_spaces(transform.kind)
    if transform.kind == "smoothing":
        length = transform.scale * suite.layout.box_size_mpc_h / suite.n_pixels
        told = f"smoothed by a Gaussian of {transform.scale:g} pixels ({length:.3g} Mpc/h)"
    elif transform.kind == "k_max":
        told = f"cut at k = {transform.scale:g} h/Mpc"
    return {"networks read maps": told}
