"""`prosebench new-method` makes a package that can be installed and passes the contract."""

import os
import subprocess
import sys
import tomllib
from importlib.metadata import version
from pathlib import Path

import pytest

from prosebench.cli.order import IN_USE
from prosebench.new_method import check_name, write_package

PIP = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--disable-pip-version-check"]


def run(*command: str, cwd: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """A command that must succeed."""
    done = subprocess.run(
        command,
        cwd=cwd,
        capture_output=True,
        text=True,
        timeout=600,
        env=os.environ | environment,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, str]]:
    """The package, and the environment of processes that find it installed."""
    folder = tmp_path_factory.mktemp("new")
    run(sys.executable, "-m", "prosebench.cli", "new-method", "my-walk", cwd=folder)
    # Where the setuptools of this environment will do, nothing is fetched.
    old = int(version("setuptools").partition(".")[0]) < 61
    isolated = [] if old else ["--no-build-isolation"]
    site = folder / "site"
    run(*PIP, *isolated, "--target", str(site), str(folder / "my-walk"), cwd=folder)
    places = [str(site), os.environ.get("PYTHONPATH", "")]
    return folder / "my-walk", {"PYTHONPATH": os.pathsep.join(filter(None, places)), "OMP_NUM_THREADS": "1"}


def test_the_package_is_found_and_passes_its_own_test(installed: tuple[Path, dict[str, str]]) -> None:
    folder, environment = installed
    content = tomllib.loads((folder / "pyproject.toml").read_text())
    assert content["project"]["entry-points"]["prosebench.methods"] == {"my-walk": "my_walk:MyWalk"}
    listed = run(sys.executable, "-m", "prosebench.cli", "list", "methods", cwd=folder.parent, **environment)
    assert "Metropolis-adjusted Langevin moves (MALA) of several walkers" in listed.stdout
    run(sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", cwd=folder, **environment)


def test_the_method_holds_to_the_contract(installed: tuple[Path, dict[str, str]]) -> None:
    folder, environment = installed
    command = [sys.executable, "-m", "prosebench.cli", "check", "my-walk"]
    assert "my-walk holds to the contract" in run(*command, cwd=folder.parent, **environment).stdout


@pytest.mark.parametrize("name", ["My-Walk", "my_walk", "9lives", "walk-", "", "class", "../walk"])
def test_names_that_cannot_be_are_refused(name: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="cannot be the name of a method"):
        write_package(name, tmp_path / "new")
    assert not list(tmp_path.iterdir())


def test_what_is_there_is_not_replaced(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text("")
    with pytest.raises(ValueError, match="is not an empty folder; give another with --to"):
        write_package("my-walk", tmp_path)
    with pytest.raises(ValueError, match="there is a method 'md' already"):
        check_name("md")
    assert "new-method" in IN_USE["Bring a method"]
