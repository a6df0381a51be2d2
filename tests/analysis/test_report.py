import hashlib
import re
import shutil
from pathlib import Path

import pytest

from analysis.report import write_report


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
