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
    first = write_report(tmp_path, [reference_folder], progress=lambda what, *_: seen.append(what))
    before = digests(tmp_path / "report") | {"scores": (tmp_path / "scores.csv").read_text()}
    assert set(seen) == {"scores", "figures"}
    shutil.rmtree(tmp_path / "report")
    shutil.rmtree(tmp_path / "scores")
    second = write_report(tmp_path, [reference_folder], workers=2)
    assert digests(tmp_path / "report") | {"scores": (tmp_path / "scores.csv").read_text()} == before
    assert first.paths == second.paths
    check_contents(tmp_path / "report")


def check_contents(report: Path) -> None:
    names = set(digests(report))
    for figure in ("AA-energy", "AA-ramachandran", "AA-tica", "scaling-wasserstein", "scaling-jsd"):
        assert {f"figures/{figure}.{kind}" for kind in ("png", "pdf", "svg")} <= names
    page = (report / "report.md").read_text()
    links = re.findall(r"\]\(([^)]+)\)", page)
    assert links
    assert all((report / link).exists() for link in links)
    for words in ("n/a: not trained on N-terminal proline", "waiting", "hash"):
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
    before = write_report(tmp_path, [reference_folder]).scores
    (tmp_path / "cells" / folder.name / "ensemble.npz").unlink()
    after = write_report(tmp_path, [reference_folder])
    assert after.scores.equals(before)
