"""Submissions are found again wherever the run folder lies now, the oldest first."""

import json
import os
import shutil
from pathlib import Path

import pytest

from jobs.cluster.arrays import Submission, job_with_output, new_name, read_submission, read_submissions
from prosebench.store.storage import DamagedFile


def submission(directory: Path, name: str = "prosebench-1f", **changes: object) -> Submission:
    fields = {
        "name": name,
        "directory": directory,
        "jobs": [["a", "b"], ["c"]],
        "minutes": 60,
        "signal_seconds": 120,
    }
    return Submission.model_validate(fields | changes)


def test_a_submission_is_read_where_its_run_folder_was_moved_to(tmp_path: Path) -> None:
    written = submission(
        tmp_path / "before", references=[tmp_path / "refs"], launcher=["mpirun", "--oversubscribe"]
    )
    written.write()
    assert written.logs.is_dir()
    shutil.move(tmp_path / "before", tmp_path / "after")
    found = read_submission(tmp_path / "after" / "jobs" / written.name)
    assert found == written.model_copy(update={"directory": tmp_path / "after"})
    assert found.size == 2


def test_commands_count_instead_of_cells(tmp_path: Path) -> None:
    assert submission(tmp_path, jobs=[], commands=[["list"], ["run"], ["score"]]).size == 3


def test_submissions_stand_in_the_order_in_which_they_were_made(tmp_path: Path) -> None:
    assert read_submissions(tmp_path) == []
    for age, name in ((30, "z"), (10, "a"), (20, "m")):
        one = submission(tmp_path, name)
        one.write()
        os.utime(one.folder / "submission.json", ns=(0, (100 - age) * 10**9))
    assert [one.name for one in read_submissions(tmp_path)] == ["z", "m", "a"]


@pytest.mark.parametrize("content", [{"name": "x"}, {"surprise": 1}, [1, 2], "text"])
def test_what_is_no_submission_is_named(content: object, tmp_path: Path) -> None:
    one = submission(tmp_path)
    one.write()
    path = one.folder / "submission.json"
    whole = json.loads(path.read_text())
    path.write_text(json.dumps(whole | content if content == {"surprise": 1} else content))
    with pytest.raises(DamagedFile, match=r"submission\.json"):
        read_submission(one.folder)


def test_the_last_job_with_output_is_the_one(tmp_path: Path) -> None:
    one = submission(tmp_path)
    one.write()
    assert job_with_output(one, 1) == ""
    for age, name in ((30, "7_1"), (10, "9_1"), (1, "9_11")):
        path = one.logs / f"{name}.log"
        path.touch()
        os.utime(path, ns=(0, (100 - age) * 10**9))
    assert job_with_output(one, 1) == "9_1"
    assert job_with_output(one, 11) == "9_11"


def test_names_are_fresh() -> None:
    names = {new_name() for _ in range(200)}
    assert len(names) == 200
    assert all(name.startswith("prosebench-") and name.isascii() for name in names)
