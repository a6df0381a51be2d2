"""Commands that tests type are those of the environment that runs the tests; a package that brings a method."""

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

PLUGIN = Path(__file__).parent / "plugin"

os.environ["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])


def with_plugin() -> str:
    """PYTHONPATH of processes that find the plug-in, besides what is found already."""
    return os.pathsep.join(filter(None, [str(PLUGIN), os.environ.get("PYTHONPATH", "")]))


@pytest.fixture(autouse=True)
def environment_as_it_was() -> Iterator[None]:
    """What a test, or the code that it calls, sets in the environment is gone after it: GPUs allotted to the process
    would fail every flow in the tests that follow."""
    before = dict(os.environ)
    yield
    for name in set(os.environ) - set(before) - {"PYTEST_CURRENT_TEST"}:
        del os.environ[name]
    os.environ.update({name: value for name, value in before.items() if name != "PYTEST_CURRENT_TEST"})


@pytest.fixture
def unhurried(monkeypatch: pytest.MonkeyPatch) -> str:
    """Name of a method that rests between chunks where UNHURRIED_SECONDS says so, here and in processes of a test.

    It is md-replicas; with "-md" behind its name it is md.
    """
    monkeypatch.syspath_prepend(str(PLUGIN))
    monkeypatch.setenv("PYTHONPATH", with_plugin())
    return "unhurried"
