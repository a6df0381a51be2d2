import hashlib
import re
import shutil
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from analysis.report.report import write_report
from analysis.report.spent import most_apart, spent_markdown
from analysis.scores.run import score_run
from prosebench.cli import app
from prosebench.energy.settings import TargetSettings
from prosebench.machine.joules import NODES, Reading, write_reading
from prosebench.record import Cell, Provenance, Record, write_record
from prosebench.store.storage import write_json


def digests(folder: Path) -> dict[str, str]:
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def test_the_same_records_give_the_same_bytes(run_folder: Path, reference_folder: Path, tmp_path: Path):
    shutil.copytree(run_folder / "cells", tmp_path / "cells")
    seen = []
    first = write_report(
        tmp_path, [reference_folder], progress=lambda what, *_: seen.append(what), formats=["png"]
    )
    before = digests(tmp_path / "report") | {"scores": (tmp_path / "scores.csv").read_text()}
    assert set(seen) == {"scores", "figures"}
    shutil.rmtree(tmp_path / "report")
    shutil.rmtree(tmp_path / "scores")
    second = write_report(tmp_path, [reference_folder], workers=2, formats=["png"])
    assert digests(tmp_path / "report") | {"scores": (tmp_path / "scores.csv").read_text()} == before
    assert first.paths == second.paths
    check_contents(tmp_path / "report")


def check_contents(report: Path) -> None:
    names = set(digests(report))
    for figure in (
        "AA-energy",
        "AA-states",
        "AA-walks",
        "AA-weights",
        "scaling-wasserstein",
        "scaling-wall-seconds",
    ):
        assert f"figures/{figure}.png" in names
    for page in (report / "report.md", report / "peptides" / "AA.md"):
        links = re.findall(r"\]\(([^)]+)\)", page.read_text())
        assert links
        assert all((page.parent / link).exists() for link in links)
    page = (report / "report.md").read_text()
    for words in (
        "n/a: not trained on N-terminal proline",
        "waiting",
        "hash",
        "ceiling",
        "Excess over the floor",
        "| row | cells | wall hours | CPU core hours | GPU hours |",
        "Energy: not measured",
    ):
        assert words in page
    assert str(report.parent) not in page


def test_a_folder_without_cells_is_refused(tmp_path: Path):
    with pytest.raises(FileNotFoundError, match="no cells"):
        write_report(tmp_path)


def test_records_without_their_frames_keep_their_scores(
    run_folder: Path, reference_folder: Path, tmp_path: Path
):
    folder = next(
        path for path in (run_folder / "cells").iterdir() if "-md-" in path.name and "AA" in path.name
    )
    shutil.copytree(folder, tmp_path / "cells" / folder.name)
    before = write_report(tmp_path, [reference_folder], formats=["png"]).scores
    (tmp_path / "cells" / folder.name / "ensemble.npz").unlink()
    after = write_report(tmp_path, [reference_folder], formats=["png"])
    assert after.scores.equals(before)


def test_what_cannot_be_made_is_listed_and_the_rest_is_made(
    run_folder: Path, reference_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("os.sched_getaffinity", lambda process: {0})  # no worker processes
    for folder in (run_folder / "cells").iterdir():
        if "-md-" in folder.name and "AA" in folder.name:
            shutil.copytree(folder, tmp_path / "cells" / folder.name)
    score_run(tmp_path, [reference_folder])
    broken, sound = sorted((tmp_path / "cells").iterdir())
    frames = (broken / "ensemble.npz").read_bytes()
    (broken / "ensemble.npz").write_bytes(frames[: len(frames) // 2])
    rows = [{"batch": size, "evaluations_per_second": "fast"} for size in (64, 128)]
    write_json(tmp_path / "bench" / "energy.json", rows)
    options = ["--references", str(reference_folder), "--formats", "png"]
    found = CliRunner().invoke(app, ["report", str(tmp_path), *options])
    assert found.exit_code == 1
    assert found.stderr.count("not made:") == 2
    page = (tmp_path / "report" / "report.md").read_text()
    assert (
        f"- **frames in the figures of AA**: {broken.name}: ensemble.npz has changed since its record" in page
    )
    assert re.search(r"- \*\*figure throughput-batch\*\*: \w+Error: .*line \d+\)", page)
    assert str(tmp_path) not in page
    assert sound.name not in page
    for name in ("figures/AA-energy.png", "figures/scaling-jsd.png", "peptides/AA.md", "table.md"):
        assert (tmp_path / "report" / name).exists()


def test_a_fault_of_the_scorer_is_no_failure_of_the_method_and_ends_with_status_1(
    run_folder: Path, reference_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("os.sched_getaffinity", lambda process: {0})  # no worker processes
    for folder in (run_folder / "cells").iterdir():
        if "-md-" in folder.name and "AA" in folder.name:
            shutil.copytree(folder, tmp_path / "cells" / folder.name)
    broken = sorted((tmp_path / "cells").iterdir())[0]
    (broken / "ensemble.npz").write_bytes(b"other")
    found = CliRunner().invoke(
        app, ["report", str(tmp_path), "--references", str(reference_folder), "--formats", "png"]
    )
    assert found.exit_code == 1
    page = (tmp_path / "report" / "report.md").read_text()
    assert re.search(r"- \*\*scores of md on AA\*\*: scoring failed: .*ensemble\.npz has changed", page)
    assert "Not scored: 1 cell; scoring failed" in page
    assert "failed (" not in page


def test_unknown_rows_formats_and_inequalities_are_refused(
    run_folder: Path, reference_folder: Path, tmp_path: Path
):
    folder = next(
        path for path in (run_folder / "cells").iterdir() if "-md-" in path.name and "AA" in path.name
    )
    shutil.copytree(folder, tmp_path / "cells" / folder.name)
    with pytest.raises(ValueError, match="png must be among them"):
        write_report(tmp_path, [reference_folder], formats=["pdf"])
    with pytest.raises(ValueError, match="no row 'sky'"):
        write_report(tmp_path, [reference_folder], against="sky")
    with pytest.raises(ValueError, match="cannot allow unequal sky"):
        write_report(tmp_path, [reference_folder], allow=["sky"])


def test_hours_and_joules_of_a_run_are_told(tmp_path: Path) -> None:
    what = {
        "suite": "s",
        "peptide": "AA",
        "row": "md",
        "method": "md",
        "settings": {},
        "target": TargetSettings(),
    }
    for seed, device, seconds in ((0, "cpu", 1800.0), (1, "cuda: some GPU", 3600.0)):
        cell = Cell(**what, budgets=(10,), frames=10, seed=seed)
        folder = tmp_path / "cells" / cell.folder_name
        record = Record(
            cell_id=cell.id, cell=cell, status="done", force_field_hash="0" * 64, start_hash="0" * 64, target={},
            gate_deviation_kj_mol=0.0, versions={},
        )  # fmt: skip
        where = Provenance(
            host="h", device=device, commit="c", started="a", finished="b", sittings=1, ranks=2, threads=3,
            seconds={"sampling": seconds, "preparation": seconds, "target": 5.0},
        )  # fmt: skip
        folder.mkdir(parents=True)
        write_record(folder, record, where)
    write_reading(tmp_path, "one", Reading(host="h", started=1e9, seconds=1800.0, joules={"cpu": 7.2e6}))
    two = Reading(host="h", started=1e9 + 1800.0, seconds=1800.0, joules={"cpu": 0.0, "gpu GPU-a": 3.6e6})
    write_reading(tmp_path, "two", two)
    text = spent_markdown(tmp_path)
    # 1 h and 2 h; 2 ranks of 3 threads; of the second, a GPU a rank.
    assert "| md | 2 | 3 | 18 | 4 |" in text
    assert "CPU packages 7,200 kJ (2 kWh), GPUs 3,600 kJ (1 kWh), over 1 hours on 1 host." in text
    nodes = Reading(host="accounting of SLURM", seconds=0.0, joules={NODES: 3.6e7})
    write_reading(tmp_path, "accounting-slurm", nodes)
    assert "The accounting of SLURM says 36,000 kJ (10 kWh) for the nodes of all jobs" in spent_markdown(
        tmp_path
    )
    assert "over 1 hours on 1 host." in spent_markdown(tmp_path)
    assert "may hold part of what counters counted; the two must not be added." in spent_markdown(tmp_path)
    # Beside both, a job of the same node with a GPU of its own, and one on another node.
    beside = Reading(host="h", started=1e9 + 900.0, seconds=1800.0, joules={"cpu": 6e6, "gpu GPU-b": 3.6e6})
    write_reading(tmp_path, "beside", beside)
    write_reading(tmp_path, "other", beside.model_copy(update={"host": "g"}))
    text = spent_markdown(tmp_path)
    assert (
        "at least CPU packages 13,200 kJ (3.7 kWh), GPUs 10,800 kJ (3 kWh), over 1.5 hours on 2 hosts."
        in text
    )
    assert "only readings that do not overlap in time are added" in text
    assert spent_markdown(tmp_path / "nothing") == ""


def test_no_joule_of_a_counter_is_added_twice() -> None:
    """A counter of constant power, read by jobs at random times: never more than it counted, and all of it where one
    reading or a chain of them spans the time."""
    rng, watts = np.random.default_rng(0), 100.0

    def reading(started: float, ended: float) -> Reading:
        return Reading(
            host="h", started=started, seconds=ended - started, joules={"cpu": watts * (ended - started)}
        )

    for _ in range(50):
        times = np.sort(rng.integers(0, 1000, (8, 2)), axis=1).astype(float)
        readings = [reading(*pair) for pair in times]
        seen = {second for begin, end in times for second in range(int(begin), int(end))}
        longest = max(end - begin for begin, end in times)
        assert watts * longest <= most_apart(readings, "cpu") <= watts * len(seen)
        chain = [reading(a, b) for a, b in pairwise([0.0, *np.unique(times), 1000.0])]
        assert most_apart([*readings, *chain], "cpu") == pytest.approx(watts * 1000)
    unknown = [Reading(host="h", seconds=seconds, joules={"cpu": seconds}) for seconds in (3.0, 5.0)]
    assert most_apart(unknown, "cpu") == 5.0
