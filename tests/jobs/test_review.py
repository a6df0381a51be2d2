"""What the code of a method says of records that claim to be of it: marks, preparation, weights, and runs again."""

import json
from collections.abc import Callable, Mapping
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from jobs.cells.plan import lay_out, plan_cells
from jobs.cells.worker import Desk, run_cell
from jobs.review import inspect, record_again, redrawn, run_again
from prosebench.energy.meter import Counts, Meter
from prosebench.energy.settings import TargetSettings, make_target
from prosebench.ensemble import Ensemble
from prosebench.flows.snis import _load
from prosebench.inspection import Inspection
from prosebench.method import Carry, Chunk, Run, load_method
from prosebench.peptide import Peptide
from prosebench.prose.snis import ProseSNIS
from prosebench.prose.weights import PUBLISHED, to_published
from prosebench.record import Record, read_record
from prosebench.store.storage import file_sha256
from prosebench.suite import Suite
from tests.prosebench.prose.conftest import tiny_network

PEPTIDE = Peptide.from_sequence("AA")
ROWS: Mapping[str, dict[str, Any]] = {
    "md": {"warm_up_ps": 0.1, "chunk_steps": 100, "minimise_steps": 5},
    "md-replicas": {"replicas": 3, "minimise_steps": 5},
    "parallel-tempering": {"exchange_steps": 5, "levels": 2, "minimise_steps": 5},
    "prose-snis": {"weights": "breathing", "chunk_proposals": 50},
    "arbg-snis": {"weights": "arbg-small", "chunk_proposals": 50},
    "robin-snis": {"weights": "breathing", "chunk_proposals": 50},
    "tbg": {"weights": "breathing", "steps": 1, "batch": 50, "chunk_proposals": 50},
}
FLOWS = ("prose-snis", "arbg-snis", "robin-snis", "tbg")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[Record, Ensemble]]:
    """Honest cells, as the worker leaves them."""
    directory = tmp_path_factory.mktemp("review")
    suite = Suite(name="own", peptides=("AA",), budgets=(120,), frames=30, methods=dict(ROWS))
    found = {}
    for folder in lay_out(plan_cells(suite), directory):
        assert run_cell(folder, Desk(directory, "session")) == "done"
        record = read_record(folder)
        found[record.cell.row] = record, record.load_ensemble(folder)
    return found


def asked(record: Record, ensemble: Ensemble) -> Inspection:
    return inspect(record, ensemble, PEPTIDE, None)


def test_a_method_that_imports_energies_is_refused(
    made: dict[str, tuple[Record, Ensemble]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its numbers are those of an honest method: the source alone tells."""
    (tmp_path / "strange_md.py").write_text(
        "import openmm\nfrom baselines.md import MD\nclass Mine(MD): pass\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr("jobs.review.load_method", lambda name: import_module("strange_md").Mine)
    (said,) = asked(*made["md"]).reasons
    assert said.startswith(
        "its method imports openmm (strange_md.py, line 1): energies from there are counted by nobody"
    )


@pytest.mark.parametrize("row", ROWS)
def test_honest_records_pass(row: str, made: dict[str, tuple[Record, Ensemble]]) -> None:
    record, ensemble = made[row]
    found = asked(record, ensemble)
    assert found.reasons == ()
    assert not found.may_repeat
    assert found.weights == ("recomputed" if row in FLOWS else "as declared")


@pytest.mark.parametrize("row", ["md", "md-replicas", "parallel-tempering"])
def test_other_marks_than_those_of_the_settings_are_refused(
    row: str, made: dict[str, tuple[Record, Ensemble]]
) -> None:
    record, ensemble = made[row]
    assert ensemble.evaluations is not None
    earlier = Ensemble(ensemble.positions_nm, ensemble.energies_kt, None, ensemble.evaluations // 2)
    (said,) = asked(record, earlier).reasons
    assert "by its settings its method keeps that frame after" in said
    (said,) = asked(record, ensemble.select(slice(0, -1))).reasons
    assert f"it has {len(ensemble) - 1} frames; by its settings its method keeps {len(ensemble)}" in said


@pytest.mark.parametrize(("spent", "said"), [(0, "its method prepares"), (10**6, "at most")])
def test_preparation_is_what_the_method_declares(
    spent: int, said: str, made: dict[str, tuple[Record, Ensemble]]
) -> None:
    record, ensemble = made["md"]
    ledger = record.ledger.model_copy(update={"preparation": Counts(evaluations=spent, gradients=spent)})
    (reason,) = asked(record.model_copy(update={"ledger": ledger}), ensemble).reasons
    assert said in reason


def weighing(change: Callable[[Ensemble], Any]) -> Callable[[Ensemble], Ensemble]:
    return lambda one: Ensemble(one.positions_nm, one.energies_kt, change(one), one.evaluations)


RNG = np.random.default_rng(0)
FORGED: dict[str, tuple[Callable[[Ensemble], Ensemble], str]] = {
    "equal": (weighing(lambda one: np.zeros(len(one))), "are not -E - log q"),
    "random": (weighing(lambda one: RNG.normal(size=len(one))), "are not -E - log q"),
    "shuffled": (weighing(lambda one: RNG.permutation(one.log_weights)), "are not -E - log q"),
    "favouring some": (
        weighing(lambda one: one.log_weights + 0.5 * (one.positions_nm[:, 0, 0] > 0)),
        "are not -E - log q",
    ),
    "without every third": (
        weighing(lambda one: np.where(np.arange(len(one)) % 3, one.log_weights, -np.inf)),
        "are not -E - log q",
    ),
    "other frames": (
        lambda one: Ensemble(one.positions_nm[::-1], one.energies_kt, one.log_weights, one.evaluations),
        "are not those that its method draws with its seed",
    ),
}


@pytest.mark.parametrize("row", FLOWS)
@pytest.mark.parametrize("name", FORGED)
def test_forged_weights_are_refused(name: str, row: str, made: dict[str, tuple[Record, Ensemble]]) -> None:
    record, ensemble = made[row]
    change, said = FORGED[name]
    (reason,) = asked(record, change(ensemble)).reasons
    assert said in reason


def with_settings(record: Record, method: str = "", **settings: Any) -> Record:
    """A record whose cell says other settings than those it was made with."""
    cell = record.cell
    named = {"method": method, "row": method, "settings": settings} if method else {}
    return record.model_copy(
        update={"cell": cell.model_copy(update=named or {"settings": cell.settings | settings})}
    )


OTHER_HASH = "0" * 64


@pytest.mark.parametrize("row", FLOWS)
def test_a_forged_hash_does_not_switch_the_review_off(
    row: str, made: dict[str, tuple[Record, Ensemble]]
) -> None:
    record, ensemble = made[row]
    (said,) = asked(with_settings(record, weights_sha256=OTHER_HASH), ensemble).reasons
    assert said.startswith(f"its weights are not those of that name: {record.cell.settings['weights']} ")
    assert OTHER_HASH[:12] in said


def test_a_forged_hash_of_a_proposal_is_refused(made: dict[str, tuple[Record, Ensemble]]) -> None:
    record, ensemble = made["prose-snis"]
    proposal = {"weights": "breathing", "weights_sha256": OTHER_HASH}
    (said,) = asked(with_settings(record, "smc-mala", proposal_settings=proposal), ensemble).reasons
    assert "its weights are not those of that name: breathing" in said


def test_settings_that_cannot_go_together_are_refused(made: dict[str, tuple[Record, Ensemble]]) -> None:
    record, ensemble = made["prose-snis"]
    (said,) = asked(with_settings(record, "smc-mala", longer_above=0.1, shorter_below=0.9), ensemble).reasons
    assert said.startswith("its settings are none of smc-mala: shorter_below = 0.9 must be at most")


def test_a_forged_hash_of_published_weights_is_refused(
    made: dict[str, tuple[Record, Ensemble]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    size, file = tmp_path / "tiny.toml", tmp_path / PUBLISHED["prose-up-to-8aa"].place
    config = tiny_network().config.model_dump(mode="json", exclude={"description"})
    size.write_text("".join(f"{key} = {json.dumps(value)}\n" for key, value in config.items()))
    file.parent.mkdir()
    torch.save(to_published(tiny_network(dtype=torch.float32)), file)
    monkeypatch.setenv("PROSEBENCH_DATA", str(tmp_path))
    settings = {"weights": "prose-up-to-8aa", "size": str(size), "weights_sha256": file_sha256(file)}
    suite = Suite(name="own", peptides=("AA",), budgets=(20,), frames=10, methods={"prose-snis": settings})
    (folder,) = lay_out(plan_cells(suite), tmp_path / "run")
    assert run_cell(folder, Desk(tmp_path / "run", "session")) == "done"
    record = read_record(folder)
    ensemble = record.load_ensemble(folder)
    assert asked(record, ensemble) == Inspection((), "recomputed", may_repeat=False)
    (said,) = asked(with_settings(record, weights_sha256=OTHER_HASH), ensemble).reasons
    assert said.startswith("its weights are not those of that name: prose-up-to-8aa ")
    forged = FORGED["equal"][0](ensemble)
    assert asked(record, forged).reasons
    monkeypatch.setattr("prosebench.flows.weights.files.hub_problem", lambda: "no route")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "empty"))
    monkeypatch.delenv("PROSEBENCH_DATA")
    _load.cache_clear()
    # Only a machine that has the weights can tell.
    assert asked(record, forged) == Inspection(may_repeat=False)


def test_a_method_that_is_not_independent_though_it_says_so_is_heard_of(
    made: dict[str, tuple[Record, Ensemble]], monkeypatch: pytest.MonkeyPatch
) -> None:
    class Shuffling(ProseSNIS):
        def chunk(self, run: Run, index: int, carry: Carry) -> Chunk:
            run.rng(index).permutation(3)
            return super().chunk(run, index, carry)

    # This module imports energies, which a review refuses.
    Shuffling.__module__ = ProseSNIS.__module__
    monkeypatch.setattr("jobs.review.load_method", lambda name: Shuffling)
    with pytest.raises(NotImplementedError, match="rows of permutation cannot be told apart"):
        asked(*made["prose-snis"])


def test_any_proposal_is_drawn_again_alone(made: dict[str, tuple[Record, Ensemble]]) -> None:
    record, ensemble = made["prose-snis"]
    cell = record.cell
    loaded = load_method(cell.method)
    target = make_target(PEPTIDE, TargetSettings())
    run = Run(cell.id, PEPTIDE, Meter(target, cell.budgets[-1]), cell.budgets, cell.frames)
    places = np.array([0, 3, 49, 50, 99, 119])
    again = redrawn(loaded(loaded.Settings(**cell.settings)), run, target, places)
    there = ensemble.select(places)
    np.testing.assert_allclose(again.positions_nm, there.positions_nm, atol=1e-5)
    np.testing.assert_allclose(
        again.log_weights + again.energies_kt, there.log_weights + there.energies_kt, atol=1e-3
    )


def test_a_row_under_the_name_of_another_method_is_refused(made: dict[str, tuple[Record, Ensemble]]) -> None:
    record, ensemble = made["md"]
    cell = record.cell.model_copy(update={"row": "prose-snis"})
    (said,) = asked(record.model_copy(update={"cell": cell}), ensemble).reasons
    assert said == "its row is called prose-snis, but runs md; give the row another name"


def test_what_is_not_here_is_left_as_declared(
    made: dict[str, tuple[Record, Ensemble]], tmp_path: Path
) -> None:
    record, ensemble = made["prose-snis"]
    theirs = record.cell.model_copy(update={"row": "theirs", "method": "theirs"})
    found = asked(record.model_copy(update={"cell": theirs}), ensemble)
    assert found == Inspection()
    elsewhere = record.cell.model_copy(
        update={"settings": record.cell.settings | {"weights": "/nowhere/theirs.npz"}}
    )
    assert asked(record.model_copy(update={"cell": elsewhere}), ensemble) == Inspection()
    other = tmp_path / "theirs.npz"
    other.write_bytes(b"another file that lies where theirs did")
    assert (
        asked(with_settings(record, weights=str(other), weights_sha256=OTHER_HASH), ensemble) == Inspection()
    )
    for name, of in (("starts", "md-replicas"), ("proposal", "smc-mala")):
        assert asked(with_settings(record, of, **{name: "/nowhere/theirs"}), ensemble) == Inspection()
    odd = record.cell.model_copy(update={"settings": record.cell.settings | {"blessed": True}})
    (said,) = asked(record.model_copy(update={"cell": odd}), ensemble).reasons
    assert said.startswith("its settings are none of prose-snis: unknown key 'blessed'")


def test_cells_are_run_again_and_give_the_same(made: dict[str, tuple[Record, Ensemble]]) -> None:
    theirs = [record for record, _ in made.values()]
    unknown = theirs[0].model_copy(update={"cell": theirs[0].cell.model_copy(update={"method": "theirs"})})
    with run_again([made["md"][0], unknown], 5, []) as cells:
        ((record, folder),) = cells
        again = record_again(folder)
        assert again is not None
        assert again == record
