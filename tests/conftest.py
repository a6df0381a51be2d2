"""Commands that tests type are those of the environment that runs the tests; a package that brings a method."""

import os
import sys
from pathlib import Path

import pytest

PLUGIN = Path(__file__).parent / "plugin"

os.environ["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])


def with_plugin() -> str:
    """PYTHONPATH of processes that find the plug-in, besides what is found already."""
    return os.pathsep.join(filter(None, [str(PLUGIN), os.environ.get("PYTHONPATH", "")]))


@pytest.fixture
def unhurried(monkeypatch: pytest.MonkeyPatch) -> str:
    """Name of a method that rests between chunks where UNHURRIED_SECONDS says so, here and in processes of a test.

    It is md-replicas; with "-md" behind its name it is md.
    """
    monkeypatch.syspath_prepend(str(PLUGIN))
    monkeypatch.setenv("PYTHONPATH", with_plugin())
    return "unhurried"
