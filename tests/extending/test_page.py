"""The page itself: its Python runs, and every command that it shows is one that these tests give."""

import runpy


def test_python_of_layouts_runs(page, place):
    (place / "cmd").mkdir()
    runpy.run_path(str(place / "show_layout.py"))
    assert (place / "cmd" / "layout_LH_Windy.json").exists()


def test_every_example_has_between_ten_and_thirty_lines(page):
    sizes = {name: len(text.splitlines()) for name, text in page.files.items() if name.endswith(".py")}
    assert all(10 <= size <= 30 for size in sizes.values()), sizes
