"""Imports of energies are seen in the source of a method and of what it imports of its own package."""

import sys
from pathlib import Path

import pytest

from baselines.md import MD
from prosebench.check.imports import energy_imports
from prosebench.machine.installed import method_entry_points
from prosebench.method import Method, load_method

METHOD = """
from prosebench.energy.dynamics import maxwell_velocities
from prosebench.energy.target import PhaseState
from prosebench.method import Method
{more}

class Sampler(Method):
    def chunk(self, run, index, carry):
        {inside}
"""


def package(folder: Path, *, more: str = "", inside: str = "pass", helper: str = "") -> type[Method]:
    """The method of a package of two modules, which is in the folder."""
    name = f"strange_{folder.name.replace('-', '_')}"
    place = folder / name
    place.mkdir()
    (place / "__init__.py").write_text("")
    (place / "helper.py").write_text(helper)
    (place / "sampler.py").write_text(METHOD.format(more=more, inside=inside))
    sys.path.insert(0, str(folder))
    try:
        return __import__(f"{name}.sampler", fromlist=["Sampler"]).Sampler
    finally:
        sys.path.remove(str(folder))


@pytest.mark.parametrize(
    ("changes", "found"),
    [
        ({}, ""),
        ({"helper": "import openmm"}, ""),
        ({"more": "import openmm"}, "openmm (sampler.py, line 5)"),
        ({"more": "import openmm.app as app"}, "openmm.app (sampler.py, line 5)"),
        ({"inside": "from openmm import unit"}, "openmm.unit (sampler.py, line 9)"),
        (
            {"inside": "from prosebench.energy import settings"},
            "prosebench.energy.settings (sampler.py, line 9)",
        ),
        ({"more": "from . import helper", "helper": "\nimport simtk"}, "simtk (helper.py, line 2)"),
        ({"more": "from .helper import x", "helper": "x = 1\nimport openmm"}, "openmm (helper.py, line 2)"),
    ],
    ids=str,
)
def test_where_energies_are_imported(
    changes: dict[str, str], found: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(tmp_path))
    assert energy_imports(package(tmp_path, **changes)) == ([found] if found else [])


def test_methods_that_come_along_may_and_the_one_of_another_package_does_not() -> None:
    assert energy_imports(MD) == []
    for name in method_entry_points():
        assert energy_imports(load_method(name)) == []
