import csv
import io
import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from analysis.board.board import MixedRuns, make_board
from analysis.board.drawings import dash, marker, region_outline
from analysis.board.kept_runs import KeptRun, collect, read_run, read_runs
from analysis.board.leaderboard import board_files, differences, write_board
from analysis.board.maps import BINS, ENERGY_BINS
from analysis.board.views import cell_lines, shown_metrics
from analysis.figures.style import _FIXED as FIXED_LOOKS
from analysis.figures.style import _SPARE as SPARE_LOOKS
from prosebench.cli import app
from prosebench.store.storage import DamagedFile, file_sha256, read_json, write_json

RESULTS = Path(__file__).parents[3] / "results"


@pytest.fixture(scope="session")
def kept(run_folder: Path, reference_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of kept runs with one run, "first"; read only."""
    own = tmp_path_factory.mktemp("own") / "first"
    shutil.copytree(run_folder, own)
    runs = tmp_path_factory.mktemp("runs")
    collect(own, runs, [reference_folder])
    return runs


@pytest.fixture(scope="session")
def files(kept: Path) -> dict[str, bytes]:
    return board_files(kept)


def test_the_committed_board_is_what_the_committed_runs_give() -> None:
    first, again = board_files(RESULTS / "runs"), board_files(RESULTS / "runs")
    assert first == again
    assert not differences(first, RESULTS / "leaderboard"), "`prosebench leaderboard` rebuilds it"


def test_keeping_a_run_gives_the_same_bytes_and_no_frames(
    kept: Path, run_folder: Path, reference_folder: Path, tmp_path: Path
) -> None:
    shutil.copytree(run_folder, tmp_path / "first")
    again = collect(tmp_path / "first", tmp_path / "runs", [reference_folder])
    there = {path.relative_to(again) for path in again.rglob("*") if path.is_file()}
    assert {str(path.parent) for path in there} == {".", "peptides"}
    for path in there:
        assert (kept / "first" / path).read_bytes() == (again / path).read_bytes(), path
    assert sum(path.stat().st_size for path in again.rglob("*")) < 150_000
    assert str(tmp_path) not in "".join(path.read_text() for path in again.rglob("*") if path.is_file())


def test_every_number_leads_to_its_record(files: dict[str, bytes], run_folder: Path) -> None:
    cells = {folder.name.rsplit("-", 1)[-1]: folder for folder in (run_folder / "cells").iterdir()}
    lines = list(csv.DictReader(io.StringIO(files["cells.csv"].decode())))
    scored = [line for line in lines if line["status"] in ("done", "partial")]
    assert {line["row"] for line in scored} == {"md", "reference-draw", "flow_a&b", "clashing"}
    for line in scored:
        record = read_json(cells[line["cell_id"]] / "record.json")
        assert line["record"] == file_sha256(cells[line["cell_id"]] / "record.json")
        assert line["ensemble"] == record["ensemble_sha256"]
        assert line["machine"] == "node (cpu)"
        page = files[f"methods/{'flow_a-b' if '&' in line['row'] else line['row']}.html"].decode()
        assert line["record"] in page
        assert line["ensemble"] in page
    board = json.loads(files["leaderboard.json"])
    (row,) = (one for one in board["rows"] if (one["row"], one["budget"]) == ("md", 600))
    assert row["records"] == sorted({line["record"] for line in scored if line["row"] == "md"})
    values = [float(line["torus-w2"]) for line in scored if line["row"] == "md" and line["budget"] == "600"]
    # Distances are averaged geometrically.
    assert row["metrics"]["torus-w2"]["value"] == pytest.approx(np.exp(np.mean(np.log(values))), rel=1e-6)
    assert row["metrics"]["torus-w2"]["low"] <= row["metrics"]["torus-w2"]["value"]


def test_what_is_missing_is_said(files: dict[str, bytes]) -> None:
    page = files["index.html"].decode()
    for text in (
        "2 of 2 cells skipped (not trained on N-terminal proline)",
        "2 of 2 cells failed (FloatingPointError: the trajectory blew up)",
        "cells waiting (not finished yet)",
        "cells hold frames that are not finite",
        "50 evaluations of preparation: 0.83 times the budget",
        "ceiling",
        "floor",
    ):
        assert text in page, text
    assert "tbg" in files["README.md"].decode()
    assert "not trained on N-terminal proline" in files["README.md"].decode()


def test_a_board_of_one_run_loses_none_of_its_scores(kept: Path) -> None:
    """Of a weighted row, those under each of its weightings."""
    (run,) = read_runs(kept)
    board = make_board([run])
    assert len(board.scores) == len(run.scores)
    assert set(board.scores["weighting"]) == set(run.scores["weighting"]) > {"smoothed", "filtered"}
    weighted = [row for row in board.main.rows if row.weighting]
    assert {row.weighting for row in weighted} == {"smoothed", "filtered"}


def test_an_altered_record_or_score_file_is_refused(kept: Path, tmp_path: Path) -> None:
    shutil.copytree(kept / "first", tmp_path / "first")
    path = tmp_path / "first" / "records.jsonl"
    whole = path.read_text()
    path.write_text(whole.replace('"evaluations":600', '"evaluations":500'))
    with pytest.raises(DamagedFile, match=r"line \d+: the record of AA-.* was altered"):
        read_run(tmp_path / "first")
    path.write_text("".join(whole.splitlines(keepends=True)[1:]))
    with pytest.raises(DamagedFile, match="scores of cells without a record"):
        read_run(tmp_path / "first")
    with pytest.raises(FileNotFoundError, match="holds no runs"):
        read_runs(tmp_path / "nothing")


def test_runs_are_put_together_but_never_mixed(kept: Path, tmp_path: Path) -> None:
    first = read_run(kept / "first")
    for name in ("first", "second"):
        shutil.copytree(kept / "first", tmp_path / name)
    alone, twice = make_board([first]), make_board(read_runs(tmp_path))
    assert len(alone.scores) == len(twice.scores)
    assert set(twice.scores["run"]) == {"first"}
    head = read_json(tmp_path / "second" / "run.json")
    write_json(tmp_path / "second" / "run.json", head | {"score_version": head["score_version"] + 1})
    with pytest.raises(MixedRuns, match="different versions"):
        make_board(read_runs(tmp_path))
    other = {"AA": head["references"]["AA"] | {"hash": "0" * 64}}
    write_json(tmp_path / "second" / "run.json", head | {"references": other})
    with pytest.raises(MixedRuns, match="different references of AA"):
        make_board(read_runs(tmp_path))


def test_a_row_with_other_settings_stands_apart(kept: Path) -> None:
    first = read_run(kept / "first")
    changed = {}
    for cell_id, one in first.records.items():
        cell = one.record.cell.model_copy(update={"settings": {"friction_per_ps": 9.0}})
        changed[cell_id] = one._replace(record=one.record.model_copy(update={"cell": cell}))
    second = KeptRun("second", first.folder, first.score_version, first.references, first.scores, changed)
    board = make_board([first, second])
    assert {"md", "md [second]", "reference-draw"} <= set(board.rows)
    assert "reference-draw [second]" not in board.rows
    assert "smc [second]" not in board.rows


def test_a_certificate_stands_beside_its_score_and_ranks_nothing(kept: Path) -> None:
    first = read_run(kept / "first")
    scores = first.scores.assign(gap=np.nan)
    certified = scores.assign(gap=np.where(scores["metric"] == "torus-w2", 3e-5, np.nan))
    plain, proved = (make_board([replace(first, scores=table)]) for table in (scores, certified))
    assert shown_metrics(proved) == shown_metrics(plain)
    assert proved.main.rows == plain.main.rows
    assert proved.comparisons == plain.comparisons
    for line, before in zip(cell_lines(proved), cell_lines(plain), strict=True):
        assert "torus-w2-gap" not in before
        assert line.pop("torus-w2-gap") == ("3e-05" if line["torus-w2"] else "")
        assert line == before


def test_writing_a_board_removes_what_an_older_one_left(files: dict[str, bytes], tmp_path: Path) -> None:
    paths = write_board(files, tmp_path)
    assert not differences(files, tmp_path)
    (tmp_path / "methods" / "gone.html").write_text("old")
    (tmp_path / "cells.csv").unlink()
    assert differences(files, tmp_path) == ["cells.csv is missing", "methods/gone.html is not of this board"]
    assert write_board(files, tmp_path) == paths
    assert not differences(files, tmp_path)
    other = tmp_path / "mine"
    other.mkdir()
    (other / "thesis.txt").write_text("mine")
    write_board(files, other)
    assert (other / "thesis.txt").exists()


def test_the_command_keeps_rebuilds_and_checks(
    run_folder: Path, reference_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("os.sched_getaffinity", lambda process: {0})  # no worker processes
    shutil.copytree(run_folder, tmp_path / "first")
    options = ["--runs", str(tmp_path / "runs"), "--out", str(tmp_path / "board")]
    found = CliRunner().invoke(
        app, ["leaderboard", str(tmp_path / "first"), *options, "--references", str(reference_folder)]
    )
    assert found.exit_code == 0, found.output
    (tmp_path / "board" / "index.html").write_text("tampered")
    found = CliRunner().invoke(app, ["leaderboard", "--check", *options])
    assert found.exit_code == 1
    assert found.output.splitlines()[0] == "index.html differs"
    assert len(found.output.splitlines()) == 2


def test_every_marker_of_the_figures_has_a_shape_of_its_own_and_every_line_its_dashes() -> None:
    used = {look.marker: replace(look, colour="") for look in (*FIXED_LOOKS.values(), *SPARE_LOOKS)}
    assert len({marker(look) for look in used.values()}) == len(used)
    lines = {look.line for look in (*FIXED_LOOKS.values(), *SPARE_LOOKS) if isinstance(look.line, str)}
    assert len({dash(replace(FIXED_LOOKS["md"], line=line)) for line in lines}) == len(lines)


def test_maps_and_outlines(kept: Path) -> None:
    drawn = read_run(kept / "first").drawings("small", "AA")
    assert drawn is not None
    for maps in (*drawn["ramachandran"], drawn["tica"]):
        for grid in (maps["reference"], *(row["map"] for row in maps["rows"])):
            assert len(grid) == BINS
            assert {len(line) for line in grid} == {BINS}
            assert "0" in "".join(grid)
    assert sum(drawn["energy"]["reference"]) == pytest.approx(10_000, abs=ENERGY_BINS)
    assert region_outline(["...", ".1.", "..."], 2) == "M1 1h1M1 2h1M1 1v1M2 1v1"
    assert region_outline(["..", "35"], 2) == ""
