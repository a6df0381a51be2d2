"""One command measures every speed: each bench leaves numbers, one that fails is named, and the page shows them."""

import json
import os
import re
import subprocess
import sys
from importlib import import_module
from pathlib import Path
from types import ModuleType

import pytest
from typer.testing import CliRunner

from prosebench.cli import app, bench_all
from prosebench.machine.description import processor
from tests.docs.blocks import DOCS, ROOT


@pytest.fixture
def speeds(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """What makes the tables of the page."""
    monkeypatch.syspath_prepend(str(DOCS))
    return import_module("speeds")


def test_every_bench_leaves_numbers_that_the_page_can_show(tmp_path: Path, speeds: ModuleType) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "prosebench.cli", "bench", "all", "--quick", "--out", "speeds"],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    (path,) = (tmp_path / "speeds").iterdir()
    assert path.stem.endswith("-cores-quick")
    record = speeds.read(path)
    assert record["quick"]
    assert record["machine"]["memory_gb"] > 0.0
    assert record["versions"]["torch"] in speeds.machine(record)
    assert f"after: {record['load_after'][0]}" in speeds.machine(record)
    assert [section["name"] for section in record["sections"]] == list(bench_all.SECTIONS)
    for section in record["sections"]:
        assert not section["failure"]
        assert section["command"] in done.stdout.replace("\n", " ")
        heads, cells = speeds.cells(record, section["name"])
        assert len(cells) == len(section["rows"]) > 0
        assert all(len(line) == len(heads) and all(line) for line in cells)
        for row in section["rows"]:
            numbers = {name: value for name, value in row.items() if not isinstance(value, str)}
            assert min(numbers.values()) >= 0.0
            assert all(value > 0.0 for name, value in numbers.items() if name != "gap"), numbers


def test_a_bench_that_fails_is_named_and_the_others_go_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, speeds: ModuleType
) -> None:
    monkeypatch.chdir(tmp_path)
    broken, whole = "energy --peptides AXA --rounds 1", "planning --cells 3"
    monkeypatch.setattr(bench_all, "SECTIONS", {"energy": (broken,) * 2, "planning": (whole,) * 2})
    done = CliRunner().invoke(app, ["bench", "all", "--out", "speeds"])
    assert done.exit_code == 1, done.output
    assert re.search(r"failed: energy: \w*Error: .*X", done.output)
    assert done.output.rstrip().endswith("failed: energy")
    (path,) = (tmp_path / "speeds").iterdir()
    record = json.loads(path.read_text())
    energy, planning = record["sections"]
    assert energy["rows"] == []
    assert "AXA" in energy["failure"]
    assert f"**Not measured**: {energy['failure']}" in speeds.how(record, "energy")
    assert speeds.cells(record, "energy")[1] == []
    assert not planning["failure"]
    assert {row["cells"] for row in planning["rows"]} == {3}
    assert not list(Path("runs/planning").iterdir())


def test_numbers_that_are_none_are_a_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    """JSON could not keep them, and with them all that was measured before would be lost."""
    monkeypatch.setattr("analysis.metrics.bench.bench_scoring", lambda *_, **__: [{"seconds": float("nan")}])
    section = bench_all._measured("scoring", "scoring --peptides AA")
    assert "not finite" in section["failure"]
    assert section["rows"] == []


def test_the_page_shows_every_section() -> None:
    shown = re.findall(r"<!-- made: performance \S+:(\S+) -->", (DOCS / "performance.md").read_text())
    assert sorted(shown) == sorted(["machine", *bench_all.SECTIONS])


def test_a_record_is_named_by_its_machine(tmp_path: Path) -> None:
    file = tmp_path / "cpuinfo"
    file.write_text(
        "processor\t: 0\nmodel name\t: Some(R)  CPU @ 2.0GHz\nprocessor\t: 1\nmodel name\t: Other\n"
    )
    assert processor(file) == "Some(R) CPU @ 2.0GHz"
    assert processor(tmp_path / "none")
    named = bench_all.record_name({"processor": processor(file), "cores": 8}, quick=False)
    assert named == "some-r-cpu-2-0ghz-8-cores"
