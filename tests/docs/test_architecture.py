"""docs/architecture.md and studio/README.md describe the tree as it is."""

import re

from tests.support.server import ROOT

ARCHITECTURE = (ROOT / "docs" / "architecture.md").read_text("utf-8")
RULES = (ROOT / "studio" / "README.md").read_text("utf-8")
# Front doors inside the package, which the tree lists with the others.
DOORS = {"__main__.py", "library.py"}
TREE = ARCHITECTURE.partition("```\n")[2].partition("```")[0]


def test_the_tree_lists_every_room_and_module_of_studio() -> None:
    listed = set(re.findall(r"^  ([\w.]+/?) ", TREE, re.M))
    entries = {
        f"{path.name}/" if path.is_dir() else path.name
        for path in (ROOT / "studio").iterdir()
        if path.suffix == ".py" or (path.is_dir() and (path / "__init__.py").exists())
    }
    assert listed == entries - {"__init__.py", *DOORS}
    assert all(f"\nstudio/{door} " in TREE for door in DOORS)


def test_few_modules_lie_on_the_ground_floor() -> None:
    modules = [
        path.name
        for path in (ROOT / "studio").glob("*.py")
        if path.name not in {"__init__.py", *DOORS}
    ]
    assert len(modules) <= 8, modules


def test_every_file_that_is_named_exists() -> None:
    for text in (ARCHITECTURE, RULES):
        names = re.findall(r"`((?:[\w-]+/)*[\w-]+\.(?:py|md))`", text)
        assert len(names) > 2
        for name in names:
            places = [ROOT / name, ROOT / "studio" / name, ROOT / "studio" / "transcription" / name]
            assert any(place.exists() for place in places), name
