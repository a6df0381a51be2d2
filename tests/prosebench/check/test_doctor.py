"""What a machine is told of itself: conformance files by their kind, and folders of published data."""

from pathlib import Path

import pytest

from prosebench.check import doctor
from prosebench.check.comparison import Check
from prosebench.check.doctor import _package, _published_data, check_vectors
from prosebench.store.manifest import MANIFEST
from prosebench.store.places import PUBLISHED_WEIGHTS, frames_file


def test_files_are_checked_by_the_beginning_of_their_name(tmp_path: Path) -> None:
    for name in ("prose-1.npz", "robin.json.gz", "order.json", "unknown.npz", "README.md"):
        (tmp_path / name).touch()
    seen: list[str] = []

    def checker(path: Path) -> list[Check]:
        seen.append(path.name)
        return [Check("log q", 1e-6, 1e-5)]

    found = dict(check_vectors(tmp_path, {"prose": checker, "order": checker}))
    assert seen == ["order.json", "prose-1.npz"]
    assert {path.name: checks is None for path, checks in found.items()} == {
        "order.json": False,
        "prose-1.npz": False,
        "robin.json.gz": True,
        "unknown.npz": True,
    }


def test_a_folder_without_such_files_is_no_success(tmp_path: Path) -> None:
    (tmp_path / "README.md").touch()
    with pytest.raises(FileNotFoundError, match="holds no conformance file"):
        list(check_vectors(tmp_path, {}))


@pytest.mark.parametrize(("error", "passed"), [(1.0, True), (1.1, False), (float("nan"), False), (0.0, True)])
def test_what_is_no_number_has_not_passed(error: float, passed: bool) -> None:
    assert Check("x", error, 1.0).passed == passed


def test_a_package_is_there_or_its_remedy_is_said() -> None:
    assert _package("numpy").state == "ok"
    missing = _package("no-such-package")
    assert (missing.state, missing.found) == ("missing", "install it: pip install no-such-package")


def test_published_data_are_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PROSEBENCH_DATA", raising=False)
    assert _published_data().state == "absent"
    monkeypatch.setenv("PROSEBENCH_DATA", str(tmp_path))
    assert "frames of 0 peptides, weights none; 0 files verified" in _published_data().found
    for place in (
        frames_file("AA", "test"),
        frames_file("GGGG", "val"),
        PUBLISHED_WEIGHTS["robin-up-to-8aa"].place,
    ):
        (tmp_path / place).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / place).touch()
    assert "frames of 2 peptides, weights robin-up-to-8aa; 0 files verified" in _published_data().found
    (tmp_path / MANIFEST).write_text("{}}")
    assert _published_data().state == "missing"
    monkeypatch.setenv("PROSEBENCH_DATA", str(tmp_path / "nowhere"))
    assert (_published_data().state, "not a folder" in _published_data().found) == ("missing", True)


def test_a_launcher_is_named_only_where_there_is_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("mpi4py")
    monkeypatch.setenv("PATH", str(tmp_path))
    assert doctor._mpi().found.endswith("no launcher on PATH")
    for name in ("mpirun", "srun"):
        (tmp_path / name).touch(mode=0o755)
    assert doctor._mpi().found.endswith("srun")
