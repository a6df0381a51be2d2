"""GPUs as a scheduler names them, and how workers share them."""

import pytest

from prosebench.flows import gpus
from prosebench.flows.gpus import allotted_gpus, bind_gpu, used_since, visible_gpus

VARIABLES = ("CUDA_VISIBLE_DEVICES", "SLURM_STEP_GPUS", "SLURM_JOB_GPUS")


@pytest.fixture(autouse=True)
def nothing_allotted(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in VARIABLES:
        # What is set here is taken back in the end, also where the code under test sets it.
        monkeypatch.setenv(name, "")
        monkeypatch.delenv(name)


@pytest.mark.parametrize(
    ("environment", "found"),
    [
        ({}, []),
        ({"SLURM_JOB_GPUS": "0,1"}, ["0", "1"]),
        # A step has some of its job's; what is set by hand comes first.
        ({"SLURM_JOB_GPUS": "0,1", "SLURM_STEP_GPUS": "1"}, ["1"]),
        ({"SLURM_JOB_GPUS": "0,1", "CUDA_VISIBLE_DEVICES": "3"}, ["3"]),
        ({"SLURM_JOB_GPUS": "0,1", "CUDA_VISIBLE_DEVICES": ""}, []),
        ({"CUDA_VISIBLE_DEVICES": " GPU-1f , MIG-2e "}, ["GPU-1f", "MIG-2e"]),
        ({"CUDA_VISIBLE_DEVICES": "-1"}, []),
        ({"CUDA_VISIBLE_DEVICES": "NoDevFiles"}, []),
    ],
)
def test_the_first_word_counts(
    environment: dict[str, str], found: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert allotted_gpus() == found


def test_where_nobody_chose_all_that_the_driver_knows_are_visible(
    tmp_path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("0000:01:00.0", "0000:02:00.0"):
        (tmp_path / name).mkdir()
    monkeypatch.setattr(gpus, "_DRIVER", tmp_path)
    assert visible_gpus() == ["0", "1"]
    bind_gpu(5)
    assert visible_gpus() == ["1"]
    # One is left to this process, whichever worker asks again.
    bind_gpu(0)
    assert visible_gpus() == ["1"]


def test_nothing_is_bound_where_there_is_no_gpu(tmp_path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gpus, "_DRIVER", tmp_path)
    bind_gpu(1)
    assert "CUDA_VISIBLE_DEVICES" not in gpus.os.environ


def test_gpus_that_were_used_are_those_with_new_allocations(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gpus, "allocations", lambda: [7, 0, 3])
    assert used_since([7, 0, 3]) == []
    assert used_since([5, 0, 3]) == [0]
    # Torch had touched none when the numbers were taken.
    assert used_since([]) == [0, 2]
