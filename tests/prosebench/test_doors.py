"""What somebody finds who imports prosebench: a few names, with tab completion, and nothing heavy loaded."""

import subprocess
import sys
import tomllib
from importlib import import_module, resources
from pathlib import Path

import numpy as np
import pytest

import prosebench
from prosebench.sampling import NotSampled

HEAVY = ("torch", "openmm", "mdtraj", "scipy", "pandas", "sklearn")


def test_the_package_says_what_it_is() -> None:
    assert "ensemble.mean" in prosebench.__doc__
    pyproject = Path(__file__).parents[2] / "pyproject.toml"
    if pyproject.exists():
        content = tomllib.loads(pyproject.read_text())
        assert "version" in content["project"]["dynamic"]
        assert f"version: {prosebench.__version__}\n" in (pyproject.parent / "CITATION.cff").read_text()
        assert content["tool"]["setuptools"]["dynamic"]["version"] == {"attr": "prosebench.__version__"}
    assert (resources.files("prosebench") / "py.typed").is_file()


@pytest.mark.parametrize(
    "name", ["prosebench", "prosebench.prose", "prosebench.energy", "prosebench.peptide"]
)
def test_names_can_be_completed_and_are_there(name: str) -> None:
    module = import_module(name)
    assert set(module.__all__) <= set(dir(module))
    for one in module.__all__:
        assert getattr(module, one) is not None
    with pytest.raises(AttributeError, match="has no attribute 'nothing'"):
        module.nothing  # noqa: B018


def test_importing_loads_nothing_heavy() -> None:
    code = f"import sys, prosebench; print([one for one in {HEAVY} if one in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_a_method_samples_without_a_suite() -> None:
    spent: list[int] = []
    line = {"budget": 400, "frames": 40, "seed": 3, "settings": {"warm_up_ps": 0.2, "chunk_steps": 100}}
    ensemble = prosebench.sample("GG", "md", **line, watch=spent.append)
    assert ensemble.positions_nm.shape == (40, 17, 3)
    assert ensemble.peptide.sequence == "GG"
    assert ensemble.log_weights is None
    assert spent[-1] == 400
    again = prosebench.sample("GG", "md", **line)
    np.testing.assert_array_equal(again.positions_nm, ensemble.positions_nm)
    assert (prosebench.sample("GG", "md", **line | {"seed": 4}).energies_kt != ensemble.energies_kt).any()


def test_a_flow_knows_whose_frames_it_gives() -> None:
    ensemble = prosebench.sample("AA", "prose-snis", budget=12)
    assert ensemble.log_weights.shape == (12,)
    assert ensemble.peptide.sequence == "AA"
    assert prosebench.Prose.from_pretrained("prose-mini").sample("AA", 4).peptide.sequence == "AA"


def test_what_cannot_be_sampled_is_said() -> None:
    with pytest.raises(NotSampled, match=r"settings of md: unknown key 'friction'; known: friction_per_ps, "):
        prosebench.sample("GG", "md", settings={"friction": 1})
    with pytest.raises(ValueError, match="unknown method 'mdd'; known: "):
        prosebench.sample("GG", "mdd")
    with pytest.raises(NotSampled, match="give at least 1 of each"):
        prosebench.sample("GG", "md", budget=0)
