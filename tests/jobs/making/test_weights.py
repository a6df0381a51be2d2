"""Published weights: fetched before anything runs, and identified by their content; the hub is a folder here."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from huggingface_hub.errors import LocalEntryNotFoundError, RevisionNotFoundError
from typer.testing import CliRunner, Result

from jobs.cells.plan import lay_out, plan_cells
from jobs.cells.status import read_states
from jobs.cells.worker import Desk, run_cell
from jobs.making.weights import fetch_weights
from prosebench.cli import app
from prosebench.flows.weights.files import hub_source
from prosebench.prose.weights import PUBLISHED, to_published
from prosebench.record import Cell, open_weights, read_record
from prosebench.store.hub import hub_problem
from prosebench.store.manifest import Manifest, PublishedFile, write_manifest
from prosebench.store.storage import file_sha256
from prosebench.suite import Suite, SuiteError, load_suite, narrow
from tests.prosebench.prose.conftest import tiny_network

SUITE = """
name = "small"
peptides = ["AA"]
budgets = [20]
frames = 10
[target]
engine = "openmm"
[methods.prose-snis]
weights = "prose-up-to-8aa"
size = "{size}"
[methods.naive]
method = "prose-snis"
max_budget = 10
temperature = "naive"
weights = "prose-up-to-8aa"
size = "{size}"
[methods.smc-mala.proposal_settings]
weights = "prose-up-to-8aa"
size = "{size}"
[methods.md]
"""


class Hub:
    """The hub's cache on this machine, and how often the hub itself, which nobody reaches, was asked."""

    def __init__(self, cache: Path) -> None:
        self.folder = cache / "models--transferable-samplers--model-weights"
        self.asked = 0

    def keep(self, seed: int, commit: str) -> str:
        """Have a file of this commit in the cache, at the head of the branch; its SHA-256."""
        path = self.folder / "snapshots" / commit / "transferable" / "prose_up_to_8aa.pth"
        path.parent.mkdir(parents=True)
        torch.save(to_published(tiny_network(seed, dtype=torch.float32)), path)
        (self.folder / "refs").mkdir(exist_ok=True)
        (self.folder / "refs" / "main").write_text(commit)
        return file_sha256(path)

    def forget(self) -> None:
        """Empty the cache."""
        self.folder.rename(self.folder.with_name("gone"))

    def ask(self) -> None:
        self.asked += 1
        raise ConnectionError("no route")


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    hub = Hub(tmp_path / "cache")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr("huggingface_hub.get_session", hub.ask)
    hub_problem.cache_clear()
    yield hub
    hub_problem.cache_clear()


@pytest.fixture
def small(tmp_path: Path) -> Path:
    """A suite on published weights of a tiny size."""
    size, suite = tmp_path / "tiny.toml", tmp_path / "small.toml"
    config = tiny_network().config.model_dump(mode="json", exclude={"description"})
    size.write_text("".join(f"{key} = {json.dumps(value)}\n" for key, value in config.items()))
    suite.write_text(SUITE.format(size=size))
    return suite


ANNEALING = """
name = "annealing"
peptides = ["AA"]
budgets = [20]
[methods.prose-snis]
weights = "prose-up-to-8aa"
size = "{size}"
[methods.smc-mala.proposal_settings]
weights = "prose-up-to-8aa"
size = "{size}"
weights_sha256 = "{shas[0]}"
temperature = "naive"
batch = 7
[methods.smc-ula.proposal_settings]
weights = "prose-up-to-8aa"
size = "{size}"
weights_sha256 = "{shas[1]}"
extrapolate = true
[methods.md]
"""


@pytest.fixture
def annealing(small: Path, tmp_path: Path) -> Callable[..., Suite]:
    """A suite of a flow and two rows that anneal from it, which say what SHA-256 its weights have."""

    def suite(*shas: str) -> Suite:
        path = tmp_path / "annealing.toml"
        path.write_text(ANNEALING.format(size=tmp_path / "tiny.toml", shas=shas))
        return load_suite(str(path))

    return suite


def cells_of(suite: Path) -> dict[str, Cell]:
    return {cell.row: cell for cell in plan_cells(fetch_weights(load_suite(str(suite)))[0])}


def command(*arguments: str | Path) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def test_published_weights_are_identified_by_their_content(hub: Hub, small: Path) -> None:
    first = hub.keep(0, "a" * 40)
    before = cells_of(small)
    assert before["prose-snis"].settings["weights_sha256"] == first
    assert before["naive"].settings["weights_sha256"] == first
    assert before["smc-mala"].settings["proposal_settings"]["weights_sha256"] == first
    assert (before["naive"].method, before["naive"].budgets) == ("prose-snis", (10,))
    second = hub.keep(1, "b" * 40)
    after = cells_of(small)
    assert after["smc-mala"].settings["proposal_settings"]["weights_sha256"] == second != first
    assert {row for row in before if before[row].id == after[row].id} == {"md"}
    assert hub.asked == 0


def test_the_record_holds_the_hash_and_needs_no_hub(hub: Hub, small: Path, tmp_path: Path) -> None:
    sha256, directory = hub.keep(0, "a" * 40), tmp_path / "run"
    (folder,) = lay_out([cells_of(small)["prose-snis"]], directory)
    assert run_cell(folder, Desk(directory, "this session")) == "done"
    assert read_record(folder).cell.settings["weights_sha256"] == sha256
    planned = command("run", "--suite", small, "--dir", directory, "--dry-run")
    assert "published weights here: 1 of 1" in planned.output
    assert "1 cell finished, 0 parked, 3 to run" in planned.output
    hub.forget()
    assert command("status", directory).output.splitlines()[-1].split() == [
        "prose-snis",
        "AA",
        "1",
        "20",
        "20",
    ]
    assert hub.asked == 0


def test_another_file_than_the_one_asked_for_is_refused(hub: Hub, small: Path) -> None:
    hub.keep(0, "a" * 40)
    suite = narrow(load_suite(str(small)), settings=["naive.weights_sha256='0123'"])
    with pytest.raises(
        SuiteError, match=r"run: naive: prose-up-to-8aa has the SHA-256 .* weights_sha256 is 0123"
    ):
        fetch_weights(suite)


def test_rows_with_the_same_trouble_are_all_named(hub: Hub, annealing: Callable[..., Suite]) -> None:
    hub.keep(0, "a" * 40)
    with pytest.raises(SuiteError) as refused:
        fetch_weights(annealing("0123", "0123"))
    said = str(refused.value)
    assert "smc-mala, smc-ula: prose-up-to-8aa has the SHA-256" in said
    assert said.endswith("leave these rows out: --methods prose-snis,md")


def test_rows_whose_file_is_missing_are_named_and_the_hub_is_asked_once(
    hub: Hub, annealing: Callable[..., Suite]
) -> None:
    for _ in range(2):
        filled, missing = fetch_weights(annealing("0123", "4567"))
        assert missing == [
            ("prose-up-to-8aa", ("prose-snis", "smc-mala", "smc-ula"), "ConnectionError: no route")
        ]
    assert filled.methods["smc-mala"]["proposal_settings"]["weights_sha256"] == "0123"
    assert filled.methods["prose-snis"]["weights_sha256"] == ""
    assert hub.asked == 1


def test_a_revision_that_does_not_exist_is_to_be_replaced(
    hub: Hub, small: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unknown(*, local_files_only: bool = False, **where: object) -> str:
        if local_files_only:
            raise LocalEntryNotFoundError("not here")
        raise RevisionNotFoundError("404", response=response)

    response: Any = SimpleNamespace(headers={}, request=None)
    monkeypatch.setattr("huggingface_hub.hf_hub_download", unknown)
    monkeypatch.setattr("huggingface_hub.get_session", lambda: SimpleNamespace(head=lambda *_, **__: None))
    hub_problem.cache_clear()
    suite = narrow(load_suite(str(small)), methods=["naive"], settings=["naive.revision=mian"])
    with pytest.raises(SuiteError) as refused:
        fetch_weights(suite)
    assert "naive: transferable/prose_up_to_8aa.pth of https" in str(refused.value)
    assert str(refused.value).endswith(
        "does not exist at revision 'mian'; give a branch, tag or commit that has it, as in revision = 'main'"
    )


def states(directory: Path) -> dict[str, str]:
    return {state.cell.row: state.state for state in read_states(directory)}


QUICK = ("--set", "md.warm_up_ps=0.1", "--budgets", "20")


def test_without_the_hub_what_can_run_runs_and_the_rest_waits_until_the_weights_are_there(
    hub: Hub, small: Path, tmp_path: Path
) -> None:
    directory = tmp_path / "run"
    line = ("run", "--suite", small, "--dir", directory, *QUICK)
    first = command(*line)
    assert first.exit_code == 0, first.output
    assert states(directory) == dict.fromkeys(("prose-snis", "naive", "smc-mala"), "waiting") | {"md": "done"}
    assert "published weights here: 0 of 1" in first.output
    assert (
        "(the hub: ConnectionError: no route): prose-up-to-8aa. Rows that wait: prose-snis, naive, smc-mala"
        in first.output
    )
    assert f"`prosebench fetch --suite {small} --to DATA`" in first.output
    assert "3 cells wait for what is not here" in first.output
    table = (directory / "report" / "table.md").read_text()
    assert (
        "Waiting: 3 cells; weights prose-up-to-8aa are not here. Rows: naive (prose-up-to-8aa), prose-snis"
        in table
    )
    assert "weights prose-up-to-8aa were not there when it was planned" in command("status", directory).output
    assert hub.asked == 1
    hub.keep(0, "a" * 40)
    second = command(*line, "--no-report")
    assert set(states(directory).values()) <= {"done", "skipped"}
    assert len(list((directory / "cells").iterdir())) == 4, "no folder is left of those that waited"
    assert "wait for" not in second.output
    hub.forget()
    third = command(*line, "--no-report")
    assert third.exit_code == 0
    assert set(states(directory).values()) <= {"done", "skipped"}, (
        "finished cells are found without the weights"
    )
    assert "wait for" not in third.output
    assert len(list((directory / "cells").iterdir())) == 4


def test_a_file_that_differs_from_the_list_of_its_folder_is_refused(
    hub: Hub, small: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "data" / "transferable" / "prose_up_to_8aa.pth"
    file.parent.mkdir(parents=True)
    torch.save(to_published(tiny_network(0, dtype=torch.float32)), file)
    entry = PublishedFile(
        repository="r", kind="model", revision="main", commit="c" * 40, size_bytes=1, sha256=file_sha256(file)
    )
    write_manifest(tmp_path / "data", Manifest(files={"transferable/prose_up_to_8aa.pth": entry}))
    monkeypatch.setenv("PROSEBENCH_DATA", str(tmp_path / "data"))
    filled, missing = fetch_weights(load_suite(str(small)))
    assert not missing
    assert not any(open_weights(settings) for settings in filled.methods.values())
    assert hub_source("prose-up-to-8aa", PUBLISHED["prose-up-to-8aa"], file)["commit"] == "c" * 40
    another = narrow(load_suite(str(small)), methods=["naive"], settings=["naive.revision=v2"])
    assert [one.weights for one in fetch_weights(another)[1]] == ["prose-up-to-8aa"], (
        "it is not of that revision"
    )
    file.write_bytes(file.read_bytes() + b"!")
    with pytest.raises(SuiteError, match="it is damaged; `prosebench fetch` gets it again"):
        fetch_weights(load_suite(str(small)))


def test_a_dry_run_needs_no_hub(hub: Hub, tmp_path: Path) -> None:
    done = command("run", "--suite", "temperatures", "--dir", tmp_path / "run", "--dry-run")
    assert done.exit_code == 0
    assert "published weights here: 0 of 1" in done.output
    assert "wait for what is not here" in done.output
    assert not (tmp_path / "run").exists()
    assert hub.asked == 0


def test_a_plan_finds_finished_cells_without_their_weights(hub: Hub, small: Path, tmp_path: Path) -> None:
    hub.keep(0, "a" * 40)
    directory = tmp_path / "run"
    (folder,) = lay_out([cells_of(small)["naive"]], directory)
    assert run_cell(folder, Desk(directory, "this session")) == "done"
    hub.forget()
    said = command("run", "--suite", small, "--dir", directory, "--dry-run").output
    assert "1 cell finished, 0 parked, 1 to run" in said
    assert "2 cells wait for what is not here" in said
