"""Cells on GPUs: a worker each, the true device in the record, estimates by weights and device, profiles for flows."""

from pathlib import Path

import pytest

from jobs.cells.launch import run_local
from jobs.cells.plan import lay_out, plan_cells
from jobs.cells.worker import Desk, run_cell
from jobs.cluster.cost import CostModel
from jobs.cluster.profile import Cluster, load_cluster
from prosebench.method import method_entry_points
from prosebench.record import Cell, read_provenance, read_record
from prosebench.store.storage import read_json, write_json
from prosebench.suite import load_suite
from tests.pretended.gpu import PretendedGpu
from tests.pretended.scenarios import forget

DYNAMICS = {"md", "md-replicas", "parallel-tempering", "reference-draw"}
SUITE = """
name = "gpus"
peptides = ["AA"]
budgets = [{budget}]
frames = 20
seeds = {seeds}
[methods.{method}]
"""


def cells_of(folder: Path, method: str, budget: int, seeds: list[int], more: str = "") -> list[Cell]:
    path = folder / "gpus.toml"
    path.write_text(SUITE.format(method=method, budget=budget, seeds=seeds) + more)
    return plan_cells(load_suite(str(path)))


def test_each_worker_has_a_gpu_of_its_own(
    tmp_path: Path, unhurried: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3,5")
    monkeypatch.setenv("UNHURRIED_SECONDS", "0.3")
    cells = cells_of(
        tmp_path, "which-gpu", 400, [0, 1], "replicas = 2\nminimise_steps = 5\nchunk_evaluations = 100\n"
    )
    folders = lay_out(cells, tmp_path / "run")
    run_local(folders, tmp_path / "run", workers=2)
    used = [set(read_record(folder).diagnostics["gpu"]) for folder in folders]
    assert sorted(used, key=min) == [{3.0}, {5.0}]


def test_the_record_names_the_device_that_was_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PROSEBENCH_DEVICE", raising=False)
    desk = Desk(tmp_path / "run", "session")
    flow = lay_out(
        cells_of(tmp_path, "prose-snis", 8, [0], "batch = 4\nchunk_proposals = 4\n"), desk.directory
    )[0]
    steps = 'warm_up_ps = 0.2\nminimise_steps = 5\n[target]\nengine = "batched"\n'
    dynamics = lay_out(cells_of(tmp_path, "md", 300, [0], steps), desk.directory)[0]
    forget()
    with PretendedGpu(memory_bytes=2**17):
        assert run_cell(flow, desk) == "done", read_json(flow / "failure.json")
        assert run_cell(dynamics, desk) == "done", read_json(dynamics / "failure.json")
    forget()
    assert read_provenance(flow).device.startswith("cuda: pretended GPU")
    assert read_provenance(dynamics).device == "cpu"


def test_every_method_with_a_network_has_a_gpu_in_the_shipped_profile() -> None:
    cluster = load_cluster("gpu-nodes")
    ours = {name for name, point in method_entry_points().items() if point.dist.name == "prosebench"}
    assert {name: cluster.need(name, name).gpus for name in ours} == {
        name: int(name not in DYNAMICS) for name in ours
    }


def test_times_are_learned_by_weights_and_kind_of_device(tmp_path: Path) -> None:
    (cell,) = cells_of(tmp_path, "prose-snis", 8, [0], "batch = 4\nchunk_proposals = 4\n")
    desk = Desk(tmp_path / "run", "session")
    folder = lay_out([cell], desk.directory)[0]
    forget()
    assert run_cell(folder, desk) == "done"
    forget()
    costs = CostModel().learn([desk.directory])
    other = cell.model_copy(update={"settings": cell.settings | {"weights_sha256": "other"}})
    assert costs.knows(cell)
    assert not costs.knows(cell, gpu=True)
    assert not costs.knows(other)
    here = read_json(folder / "provenance.json")
    write_json(folder / "provenance.json", here | {"device": "cuda: H100, driver 550.54, CUDA 12.8"})
    learned = CostModel().learn([desk.directory])
    assert learned.knows(cell, gpu=True)
    assert not learned.knows(cell)


def test_a_large_flow_is_guessed_by_its_size_and_device(tmp_path: Path) -> None:
    (small,) = cells_of(tmp_path, "prose-snis", 10_000, [0])
    large = small.model_copy(update={"settings": {"weights": "prose-up-to-8aa"}})
    costs = CostModel()
    assert costs.seconds(large) > 20 * costs.seconds(small)
    assert costs.seconds(large) > 100 * costs.seconds(large, gpu=True)


def test_nodes_of_each_kind_are_checked_once() -> None:
    gpu = {"partition": "gpu", "gpus": 1}
    cluster = Cluster(methods={"prose-snis": gpu, "tbg": gpu | {"minutes": 99}, "md-replicas": {"ranks": 2}})
    assert [names for names, _ in cluster.kinds()] == [
        ["all other rows"],
        ["prose-snis", "tbg"],
        ["md-replicas"],
    ]
