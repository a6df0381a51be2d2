"""The native library: which instruction set is used, and what is said where there is none."""

import ctypes.util
from collections.abc import Iterator
from pathlib import Path

import pytest

from prosebench.energy import compiled
from prosebench.energy.compiled import (
    INSTRUCTION_SETS,
    NativeUnavailable,
    available,
    instruction_set,
    library_path,
    load_library,
    why_unavailable,
)

BUILT = pytest.mark.skipif(library_path() is None, reason="the native library is not built")


@pytest.fixture
def fresh() -> Iterator[None]:
    """The library is looked for again, and afterwards once more."""
    load_library.cache_clear()
    yield
    load_library.cache_clear()


@BUILT
def test_a_set_that_is_asked_for_is_used_and_the_best_otherwise(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(compiled.ENVIRONMENT_VARIABLE, raising=False)
    best = instruction_set()
    assert best in INSTRUCTION_SETS
    monkeypatch.setenv(compiled.ENVIRONMENT_VARIABLE, "Plain")
    assert instruction_set() == "plain"
    monkeypatch.setenv(compiled.ENVIRONMENT_VARIABLE, "")
    assert instruction_set() == best


@BUILT
def test_a_set_that_the_cpu_lacks_is_answered_with_those_it_has(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(compiled.ENVIRONMENT_VARIABLE, "avx1024")
    with pytest.raises(
        NativeUnavailable, match=r"PROSEBENCH_INSTRUCTION_SET='avx1024': this CPU has .*plain"
    ):
        instruction_set()
    assert not available()
    assert "this CPU has" in (why_unavailable() or "")


def test_without_a_library_the_remedy_is_said(monkeypatch: pytest.MonkeyPatch, fresh: None) -> None:
    monkeypatch.setattr(compiled, "library_path", lambda: None)
    with pytest.raises(NativeUnavailable, match=r"is not built .*`pip install"):
        load_library()
    assert not available()


def test_a_file_that_is_no_library_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fresh: None
) -> None:
    path = tmp_path / "_kernel.so"
    path.write_bytes(b"no library")
    monkeypatch.setattr(compiled, "library_path", lambda: path)
    with pytest.raises(NativeUnavailable, match=rf"{path} does not load: .*; with g"):
        load_library()


def test_a_library_of_other_sources_is_not_called(monkeypatch: pytest.MonkeyPatch, fresh: None) -> None:
    """One that says nothing of the sizes of its structures, or has others, would read numbers from wrong places."""
    monkeypatch.setattr(compiled, "library_path", lambda: Path(ctypes.util.find_library("c") or "libc.so.6"))
    with pytest.raises(NativeUnavailable, match="is from other sources"):
        load_library()
