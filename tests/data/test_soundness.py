import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from fieldlevel.data import npy_files, soundness
from fieldlevel.data.pixels import survey_pixels
from fieldlevel.data.suite import (
    check_directory,
    check_suite,
    directory_remarks,
    list_suites,
    open_suite,
    split_simulations,
)
from fieldlevel.errors import DataError, UserError
from fieldlevel.layout import Layout

MAPS = "Maps_Mtot_MockTNG_LH_z=0.00.npy"
PARAMETERS = "params_LH_MockTNG.txt"


def edit_maps(directory: Path, change: Callable[[np.ndarray], np.ndarray | None], name: str = MAPS) -> None:
    maps = np.load(directory / name)
    changed = change(maps)
    np.save(directory / name, maps if changed is None else changed)


def edit_parameters(directory: Path, change: Callable[[np.ndarray], np.ndarray | None]) -> None:
    theta = np.loadtxt(directory / PARAMETERS)
    changed = change(theta)
    np.savetxt(directory / PARAMETERS, theta if changed is None else changed, fmt="%.6f")


def assign(key: object, value: object) -> Callable[[np.ndarray], None]:
    return lambda array: array.__setitem__(key, value)


# Division of the simulations


def test_split_is_the_released_one():
    split = split_simulations(1000)
    assert [len(part) for part in split] == [900, 50, 50, 0]
    assert split.train[:5].tolist() == [507, 818, 452, 368, 242]
    assert split.validation[:5].tolist() == [418, 288, 648, 166, 595]
    assert split.test[:5].tolist() == [264, 209, 316, 896, 513]


@pytest.mark.parametrize("n_simulations", [20, 27, 160, 1000])
@pytest.mark.parametrize("fractions", [(0.9, 0.05), (0.75, 0.10)])
def test_every_simulation_is_in_one_set(n_simulations, fractions):
    for seed in range(5):
        split = split_simulations(n_simulations, seed, *fractions)
        assert sorted(np.concatenate(split)) == list(range(n_simulations))


def test_maps_of_the_three_sets_share_no_simulation(write_suite):
    suite = open_suite(write_suite(n_simulations=20), "MockTNG")
    owners = [set(suite.simulation_of_map[suite.maps_of(part)]) for part in split_simulations(20)]
    assert not owners[0] & owners[1] and not owners[0] & owners[2] and not owners[1] & owners[2]
    assert sum(len(suite.maps_of(part)) for part in split_simulations(20)) == suite.n_maps


@pytest.mark.parametrize(
    ("n_simulations", "fractions"), [(5, (0.9, 0.05)), (100, (1.0, 0.05)), (100, (0.9, 0.0)), (100, (-0.1, 0.5))]
)
def test_empty_sets_are_refused(n_simulations, fractions):
    with pytest.raises(UserError, match="each needs one at least"):
        split_simulations(n_simulations, 1, *fractions)


@pytest.mark.parametrize("seed", [-1, 2**32])
def test_seeds_that_numpy_does_not_know_are_refused(seed):
    with pytest.raises(UserError, match="out of range"):
        split_simulations(1000, seed)


# Suites


def test_a_suite_knows_its_maps_and_labels(write_suite):
    directory = write_suite()
    suite = open_suite(directory, "MockTNG")
    assert (suite.n_simulations, suite.n_maps, suite.n_pixels, suite.is_mock) == (8, 120, 16, True)
    assert suite.maps_of([3, 1]).tolist() == [*range(45, 60), *range(15, 30)]
    assert (suite.simulation_of_map[suite.maps_of([3])] == 3).all()
    np.testing.assert_array_equal(suite.maps, np.load(directory / MAPS))
    np.testing.assert_array_equal(suite.parameters, np.loadtxt(directory / PARAMETERS))
    np.testing.assert_array_equal(suite.read_simulation(3), suite.maps[45:60])


def test_a_suite_cannot_be_written_to(write_suite):
    suite = open_suite(write_suite(), "MockTNG")
    assert isinstance(suite.maps, np.memmap)
    assert not suite.maps.flags.writeable
    assert not suite.parameters.flags.writeable


@pytest.mark.parametrize("numbers", [[8], [-1], [0, 99]])
def test_simulations_that_are_not_there_are_refused(write_suite, numbers):
    with pytest.raises(UserError, match=r"no simulation .* from 0 to 7"):
        open_suite(write_suite(), "MockTNG").maps_of(numbers)


def test_nbody_suite_takes_its_own_labels_or_those_of_its_twin(write_suite):
    directory = write_suite("Nbody_MockTNG")
    (directory / "params_LH_Nbody_MockTNG.txt").rename(directory / PARAMETERS)
    twin = open_suite(directory, "Nbody_MockTNG")
    np.savetxt(directory / "params_LH_Nbody_MockTNG.txt", np.c_[twin.parameters[:, :2], np.zeros((8, 4))], fmt="%.6f")
    own = open_suite(directory, "Nbody_MockTNG")
    np.testing.assert_array_equal(own.parameters[:, :2], twin.parameters[:, :2])
    assert (own.parameters[:, 2:] == 0).all()


def test_files_are_found_by_name_in_natural_order(write_suite):
    for suite, set_name in [("SIMBA", "SB10"), ("SIMBA", "SB2"), ("Nbody_SIMBA", "LH"), ("IllustrisTNG", "LH")]:
        directory = write_suite(suite, n_simulations=1, set_name=set_name)
    (directory / "Grids_Mtot_SIMBA_LH_128_z=0.0.npy").touch()
    found = [(files.suite, files.set_name, files.field) for files in list_suites(directory)]
    assert found == [
        ("IllustrisTNG", "LH", "Mtot"),
        ("Nbody_SIMBA", "LH", "Mtot"),
        ("SIMBA", "SB2", "Mtot"),
        ("SIMBA", "SB10", "Mtot"),
    ]


def test_folders_without_maps_say_what_is_looked_for(tmp_path):
    with pytest.raises(DataError, match=r"no map files here; looked for Maps_<field>_<suite>_<set>_z=0.00.npy"):
        list_suites(tmp_path)
    with pytest.raises(DataError, match="no such folder"):
        open_suite(tmp_path / "nowhere", "MockTNG")


def test_unknown_suite_lists_what_is_there(write_suite):
    with pytest.raises(DataError, match="no such file; the folder holds Mtot MockTNG LH"):
        open_suite(write_suite(), "MockTnG")


def test_fingerprint_follows_the_data_and_not_the_folder(write_suite, tmp_path):
    directory = write_suite()
    original = open_suite(directory, "MockTNG").fingerprint
    copy = tmp_path / "copy"
    copy.mkdir()
    for name in (MAPS, PARAMETERS):
        (copy / name).write_bytes((directory / name).read_bytes())
    assert open_suite(copy, "MockTNG").fingerprint == original
    edit_parameters(copy, assign((3, 4), 1.2345))
    relabelled = open_suite(copy, "MockTNG").fingerprint
    edit_maps(copy, lambda maps: maps * np.float32(1.001))
    assert len({original, relabelled, open_suite(copy, "MockTNG").fingerprint}) == 3


# Defects


def truncate(directory: Path) -> None:
    os.truncate(directory / MAPS, (directory / MAPS).stat().st_size - 100)


def lengthen(directory: Path) -> None:
    with (directory / MAPS).open("ab") as file:
        file.write(b"tail")


def damage(path: Path, place: int, text: bytes) -> None:
    with path.open("r+b") as file:
        file.seek(place)
        file.write(text)


def swap_columns(theta: np.ndarray) -> np.ndarray:
    return theta[:, [0, 1, 2, 4, 3, 5]]


def put_bad_pixels(value: float) -> Callable[[Path], None]:
    return lambda directory: edit_maps(directory, assign(([7, 31], 2, 5), value))


def replace_text(old: str, new: str) -> Callable[[Path], None]:
    def replace(directory: Path) -> None:
        path = directory / PARAMETERS
        path.write_text(path.read_text().replace(old, new, 1))

    return replace


DEFECTS: dict[str, tuple[Callable[[Path], object], str]] = {
    "labels missing": (lambda d: (d / PARAMETERS).unlink(), rf"{PARAMETERS}: cannot be read \(No such file"),
    "labels empty": (lambda d: (d / PARAMETERS).write_text("# Omega_m\n"), "no rows"),
    "labels not numbers": (replace_text("0.", "zero."), r"row 0 holds 'zero\.\d+', which is not a number"),
    "labels of SB sets": (lambda d: edit_parameters(d, lambda t: np.c_[t, t]), "other than six columns are not supp"),
    "NaN label": (lambda d: edit_parameters(d, assign((2, 3), np.nan)), r"A_AGN1 \(column 4\) outside .* 2 \(nan\)"),
    "label out of range": (
        lambda d: edit_parameters(d, assign((5, 1), 1.1)),
        r"sigma_8 \(column 2\) outside its prior range \[0.6, 1\] in rows 5 \(1.1\)",
    ),
    "swapped columns": (lambda d: edit_parameters(d, swap_columns), "columns A_AGN1 and A_SN2 are swapped"),
    "repeated row": (lambda d: edit_parameters(d, lambda t: t[[0, 1, 2, 3, 4, 5, 6, 1]]), "rows 1 and 7 are the same"),
    "shuffled rows": (lambda d: edit_parameters(d, lambda t: t[::-1]), "labels of another suite or shuffled rows"),
    "exchanged rows": (
        lambda d: edit_parameters(d, lambda t: t[[0, 4, 2, 3, 1, 5, 6, 7]]),
        r"Omega_m does not agree with the mass in the maps of simulations 1 \(.*\), 4 \([^,]*, maps [^,]*\); mend",
    ),
    "truncated": (truncate, "truncated"),
    "too long": (lengthen, "too long"),
    "damaged header": (lambda d: damage(d / MAPS, 20, b"("), r"not a .npy file \(damaged header"),
    "box of 50 Mpc/h": (lambda d: edit_maps(d, lambda m: 2 * m), "every map holds 2 times the mass of a slab of 5 Mpc"),
    "empty file": (lambda d: (d / MAPS).write_bytes(b""), "not a .npy file"),
    "text file": (lambda d: (d / MAPS).write_text("maps, but not in NumPy's format"), "not a .npy file"),
    "float64": (lambda d: edit_maps(d, lambda m: m.astype("<f8")), "pixels are <f8"),
    "big-endian": (lambda d: edit_maps(d, lambda m: m.astype(">f4")), "pixels are >f4"),
    "pickled": (lambda d: np.save(d / MAPS, np.array([{}], dtype=object)), "pixels are Python objects"),
    "Fortran order": (lambda d: edit_maps(d, np.asfortranarray), "Fortran order"),
    "rank": (lambda d: edit_maps(d, lambda m: m[:, None]), r"array of shape \(120, 1, 16, 16\)"),
    "not square": (lambda d: edit_maps(d, lambda m: m[:, :8]), "maps of 8 x 16 pixels"),
    "too small": (lambda d: edit_maps(d, lambda m: m[:, :8, :8]), "maps of 8 x 8 pixels"),
    "not 2^p": (lambda d: edit_maps(d, lambda m: m.repeat(3, 1).repeat(3, 2)), "maps of 48 x 48 pixels"),
    "odd count": (lambda d: edit_maps(d, lambda m: m[:-1]), "119 maps, not a multiple of the 8 simulations"),
    "14 each": (lambda d: edit_maps(d, lambda m: m[:112]), "112 maps, not 15 for each of the 8 simulations"),
    "NaN pixels": (put_bad_pixels(np.nan), "NaN pixels in maps 7, 31;"),
    "infinite pixels": (put_bad_pixels(np.inf), "infinite pixels in maps 7, 31;"),
    "minus infinity": (put_bad_pixels(-np.inf), "infinite pixels in maps 7, 31;"),
    "zero pixels": (put_bad_pixels(0.0), "pixels that are zero in maps 7, 31;"),
    "negative pixels": (put_bad_pixels(-1.0), "negative pixels in maps 7, 31;"),
    "identical maps": (lambda d: edit_maps(d, lambda m: m[[*range(119), 60]]), "maps 60 and 119 are identical"),
}


def test_a_sound_folder_has_no_defect(write_suite):
    write_suite("MockSIMBA", seed=1)
    assert check_directory(write_suite()) == []


@pytest.mark.parametrize("name", DEFECTS)
def test_defects_are_named_and_refused_in_the_same_words(write_suite, name):
    directory = write_suite()
    spoil, words = DEFECTS[name]
    spoil(directory)
    defects = check_directory(directory)
    with pytest.raises(DataError, match=words) as refusal:
        open_suite(directory, "MockTNG")
    assert refusal.value.defects == defects
    assert all("\n" not in defect and "MockTNG" in defect and "; " in defect for defect in defects)
    assert len(defects) == {"pickled": 2, "repeated row": 2}.get(name, 1)


@pytest.mark.parametrize("name", ["truncated", "float64", "odd count", "swapped columns", "label out of range"])
def test_defects_outside_the_pixels_are_refused_without_the_full_check(write_suite, name):
    directory = write_suite()
    spoil, words = DEFECTS[name]
    spoil(directory)
    with pytest.raises(DataError, match=words):
        open_suite(directory, "MockTNG", check=False)


def test_labels_without_maps_are_a_remark(write_suite):
    directory = write_suite()
    write_suite("MockSIMBA", seed=1)
    (directory / MAPS).unlink()
    (directory / "params_LH_Nbody.txt").write_text("0.3 0.8 1 1 1 1\n")
    assert check_directory(directory) == []
    remarks = directory_remarks(directory)
    assert [name in line for name, line in zip(("LH_MockTNG", "LH_Nbody"), remarks[-2:], strict=True)] == [True] * 2
    assert all("labels without maps" in line for line in remarks[-2:])
    assert open_suite(directory, "MockSIMBA").n_maps == 120


def test_labels_without_any_map_file_are_a_remark(write_suite):
    directory = write_suite()
    (directory / MAPS).unlink()
    assert ["no map files" in line for line in check_directory(directory)] == [True]
    assert ["labels without maps" in line for line in directory_remarks(directory)] == [True]


def test_labels_of_another_latin_hypercube_are_a_defect(write_suite):
    directory = write_suite()
    write_suite("MockSIMBA", seed=1)
    (directory / "params_LH_MockSIMBA.txt").replace(directory / PARAMETERS)
    assert any("labels of another suite" in defect for defect in check_directory(directory))


def test_many_bad_maps_are_counted_not_listed(write_suite):
    directory = write_suite()
    edit_maps(directory, assign((slice(40), 0, 0), np.nan))
    assert "0, 1, 2, 3, 4, 5, 6, 7, 8, 9 and 30 more" in check_directory(directory)[0]


def test_several_defects_are_all_listed(write_suite):
    directory = write_suite()
    edit_maps(directory, assign((3, 0, 0), -1.0))
    edit_maps(directory, assign((5, 0, 0), np.inf))
    edit_parameters(directory, assign((5, 5), 9.0))
    with pytest.raises(DataError, match="and 2 more") as refusal:
        open_suite(directory, "MockTNG")
    assert [Layout().names[5] in line or "pixels" in line for line in refusal.value.defects] == [True] * 3


def test_stellar_maps_may_vanish_but_not_be_negative(write_suite):
    directory = write_suite(field="Mstar")
    name = MAPS.replace("Mtot", "Mstar")
    edit_maps(directory, assign((7, slice(4)), 0.0), name)
    assert check_directory(directory) == []
    edit_maps(directory, assign((7, 2, 5), -1.0), name)
    assert "negative pixels in maps 7" in check_directory(directory)[0]


def test_mass_is_weighed_in_total_mass_maps_only(write_suite):
    directory = write_suite(field="Mgas")
    edit_maps(directory, lambda maps: maps / 2, MAPS.replace("Mtot", "Mgas"))
    assert check_directory(directory) == []


def test_feedback_columns_of_gravity_only_suites_mean_nothing(write_suite):
    directory = write_suite("Nbody_MockTNG")
    path = directory / "params_LH_Nbody_MockTNG.txt"
    theta = np.loadtxt(path)
    np.savetxt(path, np.c_[theta[:, :2], np.full((8, 4), 9.0)])
    assert check_directory(directory) == []
    np.savetxt(path, np.c_[theta[:, 0], np.full((8, 5), 9.0)])
    assert "sigma_8" in check_directory(directory)[0]


def test_sets_other_than_latin_hypercubes_may_repeat_and_extreme_ones_leave_the_prior(write_suite):
    directory = write_suite(set_name="EX")
    path = directory / "params_EX_MockTNG.txt"
    theta = np.loadtxt(path)
    np.savetxt(path, np.c_[theta[:, :2], np.full((8, 4), 100.0)])
    assert check_directory(directory) == []
    theta[3, 2] = np.inf
    np.savetxt(path, theta)
    assert "A_SN1" in check_directory(directory)[0]


def test_sets_of_the_users_own_leave_the_prior_in_any_column(write_suite):
    directory = write_suite(set_name="mine")
    path = directory / "params_mine_MockTNG.txt"
    theta = np.loadtxt(path)
    theta[:, 2:] = [[9.0, 1.0, 0.3, 0.1]]
    np.savetxt(path, theta)
    assert check_directory(directory) == []


@pytest.mark.parametrize(("set_name", "is_defect"), [("LH", True), ("CV", True), ("1P", False), ("mine", False)])
def test_simulations_of_one_seed_may_have_equal_maps(write_suite, set_name, is_defect):
    directory = write_suite(set_name=set_name)
    maps, parameters = (directory / name.replace("LH", set_name) for name in (MAPS, PARAMETERS))
    theta = np.loadtxt(parameters)
    theta[1, :2] = theta[0, :2]
    np.savetxt(parameters, theta)
    stored = np.load(maps)
    stored[15:30] = stored[:15]
    np.save(maps, stored)
    assert any("identical" in defect for defect in check_directory(directory)) == is_defect
    stored[3] = stored[0]
    np.save(maps, stored)
    assert "maps 0 and 3" in " ".join(check_directory(directory))


def test_maps_without_stars_are_no_defect(write_suite):
    directory = write_suite(field="Mstar")
    edit_maps(directory, assign([3, 50], 0.0), MAPS.replace("Mtot", "Mstar"))
    assert check_directory(directory) == []


def test_a_verdict_lasts_until_a_file_changes(write_suite, monkeypatch):
    directory = write_suite()
    (files,) = list_suites(directory)
    n_read = []
    survey = soundness.survey_pixels
    monkeypatch.setattr(soundness, "survey_pixels", lambda *args: n_read.append(1) or survey(*args))
    assert check_suite(files) == check_suite(files) == []
    assert len(n_read) == 1
    edit_maps(directory, assign((3, 0, 0), np.nan))
    os.utime(directory / MAPS, ns=(1, 1))
    assert len(check_suite(files)) > 0
    assert len(n_read) == 2


def test_files_are_streamed_in_blocks_that_make_up_the_whole(write_suite, monkeypatch):
    path = write_suite() / MAPS
    maps, header = np.load(path), npy_files.read_header(path)
    monkeypatch.setattr(npy_files, "_BLOCK_BYTES", 7 * 16 * 16 * 4)
    firsts, blocks = zip(*npy_files.stream_maps(path, header), strict=True)
    assert list(firsts) == list(range(0, 120, 7))
    np.testing.assert_array_equal(np.concatenate(blocks), maps)
    survey = survey_pixels(path, header)
    np.testing.assert_array_equal([survey.minimum, survey.maximum], [maps.min((1, 2)), maps.max((1, 2))])
    np.testing.assert_allclose(survey.mean, maps.mean((1, 2), dtype=np.float64), rtol=1e-12)
    edit_maps(path.parent, assign(113, maps[2]))
    assert "maps 2 and 113 are identical" in check_directory(path.parent)[0]


def test_maps_with_equal_extremes_may_differ(write_suite):
    directory = write_suite()
    edit_maps(directory, lambda maps: np.concatenate([maps[:-1], maps[-2:-1, ::-1]]))
    assert check_directory(directory) == []


def test_checking_reports_every_map(write_suite):
    events = []
    check_directory(write_suite(), events.append)
    assert (events[-1].done, events[-1].total, events[-1].unit) == (120, 120, "maps")


def test_catalogue_needs_no_torch():
    code = "import sys, fieldlevel.data.suite; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.slow
def test_large_files_are_checked_in_little_memory(write_suite):
    """A file of 251 MB may add at most 150 MiB to what the imports need: blocks of 32 MiB and their temporaries."""
    directory = write_suite(n_simulations=64, n_pixels=256)
    code = (
        "import sys, resource\nfrom fieldlevel.data.suite import check_directory\n"
        "peak = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "before = peak()\nprint(len(check_directory(sys.argv[1])), peak() - before)"
    )
    output = subprocess.run([sys.executable, "-c", code, directory], check=True, capture_output=True, text=True).stdout
    n_defects, growth = map(int, output.split())
    unit = 1 if sys.platform == "darwin" else 1024
    assert n_defects == 0
    assert growth * unit < 150 * 2**20


def test_every_kind_of_bad_pixel_of_one_map_is_listed(write_suite):
    directory = write_suite()
    edit_maps(directory, assign((7, 0, slice(3)), [np.nan, -5.0, np.inf]))
    found = " ".join(check_directory(directory))
    for what in ("NaN", "negative", "infinite"):
        assert f"{what} pixels in maps 7;" in found


def test_maps_under_a_name_that_is_not_read_are_pointed_out(write_suite):
    stranger = write_suite() / "Maps_Mtot_SIMBA_LH_z=0.50.npy"
    stranger.touch()
    assert check_directory(stranger.parent) == [
        f"{stranger}: not a name that is read; rename it to Maps_<field>_<suite>_<set>_z=0.00.npy or take it away"
    ]


@pytest.mark.parametrize("ending", ["posterior.csv", "posterior.samples.npz"])
def test_answers_beside_maps_are_no_defect(write_suite, ending):
    answers = write_suite() / f"Maps_Mtot_SIMBA_LH_z=0.00.{ending}"
    answers.touch()
    assert check_directory(answers.parent) == []


@pytest.mark.parametrize(("suite", "n_defects"), [("Astrid", 0), ("SIMBA", 1)])
def test_astrid_has_a_wider_prior(write_suite, suite, n_defects):
    directory = write_suite(suite=suite)
    path = directory / f"params_LH_{suite}.txt"
    theta = np.loadtxt(path)
    theta[2, 5] = 3.1
    np.savetxt(path, theta, fmt="%.6f")
    assert sum("A_AGN2" in line for line in check_directory(directory)) == n_defects
