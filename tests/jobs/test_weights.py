"""Published weights: fetched before anything runs, and identified by their content; the hub is a folder here."""

import json
from pathlib import Path

import pytest
import torch
from typer.testing import CliRunner, Result

from jobs.plan import lay_out, plan_cells
from jobs.weights import fetch_weights
from jobs.worker import Desk, run_cell
from prosebench.cli import app
from prosebench.prose.weights import to_published
from prosebench.record import Cell, read_record
from prosebench.storage import file_sha256
from prosebench.suite import SuiteError, load_suite, narrow
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
