"""Published weights: fetched before anything runs, and identified by their content; the hub is a folder here."""

import json
import re
import shlex
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from huggingface_hub.errors import LocalEntryNotFoundError, RevisionNotFoundError
from typer.testing import CliRunner, Result

from jobs.cells.plan import lay_out, plan_cells
from jobs.cells.worker import Desk, run_cell
from jobs.making.weights import fetch_weights
from prosebench.cli import app
from prosebench.prose.weights import to_published
from prosebench.record import Cell, read_record
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
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Hub:
    hub = Hub(tmp_path / "cache")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr("huggingface_hub.get_session", hub.ask)
    return hub


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
    return {cell.row: cell for cell in plan_cells(fetch_weights(load_suite(str(suite))))}


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
    assert planned.output.startswith("1 cell finished, 0 parked, 3 to run")
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


def test_rows_with_other_hashes_are_all_named_where_the_file_is_missing(
    hub: Hub, annealing: Callable[..., Suite]
) -> None:
    with pytest.raises(SuiteError) as refused:
        fetch_weights(annealing("0123", "4567"))
    said = str(refused.value)
    assert "prose-snis, smc-mala, smc-ula: transferable/" in said
    assert said.endswith("leave these rows out: --methods md")
    assert said.count("cannot be had") == hub.asked == 1


def test_the_assignments_of_the_error_work(hub: Hub, annealing: Callable[..., Suite], tmp_path: Path) -> None:
    mine = tmp_path / "my copy" / "prose_up_to_8aa.pth"
    mine.parent.mkdir()
    torch.save(to_published(tiny_network(0, dtype=torch.float32)), mine)
    sha256, suite = file_sha256(mine), annealing("", "")
    with pytest.raises(SuiteError) as refused:
        fetch_weights(suite)
    found = re.search(r"instead: (.*); or leave", str(refused.value))
    assert found
    words = [word.replace("PATH", str(mine)) for word in shlex.split(found[1])]
    assert words[::2] == ["--set"] * 3
    changed = fetch_weights(narrow(suite, settings=words[1::2]))
    direct, *nested = (changed.method_settings(row)[1] for row in ("prose-snis", "smc-mala", "smc-ula"))
    settings = [direct, *(one["proposal_settings"] for one in nested)]
    assert {one["weights_sha256"] for one in settings} == {sha256}
    assert {one["weights"] for one in settings} == {str(mine)}
    assert {one["size"] for one in settings} == {str(tmp_path / "tiny.toml")}
    assert [one["temperature"] for one in settings] == ["scaled", "naive", "scaled"]
    assert [one["extrapolate"] for one in settings] == [False, False, True]
    assert [one["batch"] for one in settings] == [256, 7, 256]
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
    suite = narrow(load_suite(str(small)), methods=["naive"], settings=["naive.revision=mian"])
    with pytest.raises(SuiteError) as refused:
        fetch_weights(suite)
    assert "naive: transferable/prose_up_to_8aa.pth of https" in str(refused.value)
    assert str(refused.value).endswith(
        "does not exist at revision 'mian'; give a branch, tag or commit that has it, as in revision = 'main'"
    )


@pytest.mark.parametrize("line", [["run"], ["submit", "--cluster", "cpu-nodes"]], ids=["run", "submit"])
def test_without_the_hub_one_error_comes_before_anything_runs(
    line: list[str], hub: Hub, tmp_path: Path
) -> None:
    done = command(*line, "--suite", "temperatures", "--dir", tmp_path / "run")
    said = str(done.exception)
    assert isinstance(done.exception, SuiteError)
    assert "prose-snis, prose-snis-naive: transferable/prose_up_to_8aa.pth of https" in said
    assert "(ConnectionError)" in said
    assert "--set prose-snis.weights=PATH --set prose-snis-naive.weights=PATH" in said
    assert said.endswith("leave these rows out: --methods md")
    assert said.count("cannot be had") == hub.asked == 1
    assert not (tmp_path / "run").exists()


def test_a_dry_run_needs_no_hub(hub: Hub, tmp_path: Path) -> None:
    done = command("run", "--suite", "temperatures", "--dir", tmp_path / "run", "--dry-run")
    assert done.exit_code == 0
    assert "45 to run" in done.output
    assert hub.asked == 0


def test_a_dry_run_tells_which_finished_cells_it_cannot_find(hub: Hub, small: Path, tmp_path: Path) -> None:
    hub.keep(0, "a" * 40)
    directory = tmp_path / "run"
    (folder,) = lay_out([cells_of(small)["naive"]], directory)
    assert run_cell(folder, Desk(directory, "this session")) == "done"
    line = "run", "--suite", small, "--dir", directory, "--dry-run"
    assert "not in the cache" not in command(*line).output
    hub.forget()
    said = command(*line).output
    assert "weights of naive are not in the cache: their finished cells are counted as missing" in said
    assert "0 cells finished, 0 parked, 4 to run" in said
    assert "not in the cache" not in command(*line, "--methods", "md").output
