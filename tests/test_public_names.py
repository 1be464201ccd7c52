import os
import subprocess
import sys
from pathlib import Path

import fieldlevel


def test_every_public_name_is_there():
    assert sorted(fieldlevel._PUBLIC) == sorted(fieldlevel.__all__)
    for name in fieldlevel.__all__:
        assert getattr(fieldlevel, name).__name__ == name
        assert name in dir(fieldlevel)


def test_figures_are_public():
    assert "figures" in dir(fieldlevel)
    assert callable(fieldlevel.figures.draw_corner)


def in_new_process(code: str) -> str:
    environment = os.environ | {"PYTHONPATH": str(Path(fieldlevel.__file__).parents[1])}
    ran = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr
    return ran.stdout


def test_importing_the_package_imports_nothing_else():
    known = "import sys; before = set(sys.modules); import fieldlevel; print(*set(sys.modules) - before)"
    others = {name.split(".")[0] for name in in_new_process(known).split()} - set(sys.stdlib_module_names)
    assert others == {"fieldlevel"}


def test_public_names_need_no_optional_package():
    code = """
import sys
for name in ("zuko", "pandas", "getdist", "sbi", "tensorboard", "torch.utils.tensorboard", "hdf5plugin"):
    sys.modules[name] = None
import fieldlevel
for name in (*fieldlevel.__all__, "figures"):
    getattr(fieldlevel, name)
try:
    fieldlevel.TensorBoard("curves")
except fieldlevel.UserError as error:
    print(error)
"""
    assert in_new_process(code) == (
        "tensorboard is not installed; pip install 'fieldlevel[tensorboard]', or pip install tensorboard\n"
    )
