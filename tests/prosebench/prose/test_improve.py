"""One flow for several peptides: what it learns, and that a run that is stopped goes on with the same numbers."""

import errno
import fcntl
import os
import subprocess
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch

from prosebench.energy.meter import Meter
from prosebench.ensemble import Ensemble
from prosebench.peptide import Peptide
from prosebench.prose import checkpoint as checkpoints
from prosebench.prose import improve as improvement
from prosebench.prose.checkpoint import Checkpoint, open_checkpoint
from prosebench.prose.fine_tuning import TuningSettings
from prosebench.prose.flow import Prose
from prosebench.prose.improve import improve
from prosebench.prose.network import Network

from .conftest import tiny_config, tiny_network
from .test_snis import CentredGaussian

PEPTIDES = [Peptide.from_sequence("GG"), Peptide.from_sequence("GA")]


@pytest.fixture(scope="module")
def start() -> Prose:
    torch.manual_seed(0)
    return Prose(Network(tiny_config()), device="cpu")


def test_one_flow_for_several_peptides(start: Prose) -> None:
    seen: list[tuple[int, str, float]] = []
    peptides = PEPTIDES
    meters = [Meter(CentredGaussian(), 60), Meter(CentredGaussian(), 90)]
    settings = TuningSettings(rounds=2, steps=2, tuning_batch=4)
    tuned, ensembles = improve(start, peptides, meters, settings, watch=lambda *said: seen.append(said))
    assert [meter.spent for meter in meters] == [60, 90]
    assert [len(ensemble) for ensemble in ensembles] == [20, 30]
    assert [said[:2] for said in seen] == [(k, p.sequence) for k in range(3) for p in peptides]
    before, after = (list(prose.network.parameters()) for prose in (start, tuned))
    assert any(not torch.equal(one, other) for one, other in zip(before, after, strict=True))
    again, _ = improve(start, peptides, [Meter(CentredGaussian(), n) for n in (60, 90)], settings)
    assert all(torch.equal(one, other) for one, other in zip(after, again.network.parameters(), strict=True))


def test_one_flow_for_several_peptides_knows_the_temperature(start: Prose) -> None:
    peptides = PEPTIDES[:1]
    for temperature, width in (("scaled", 0.35 * np.sqrt(2.0)), ("naive", 0.35)):
        meters = [Meter(CentredGaussian(0.3, 620.0), 400)]
        _, (frames,) = improve(start, peptides, meters, TuningSettings(rounds=0, temperature=temperature))
        assert np.std(frames.positions_nm) == pytest.approx(width, rel=0.1)
    meters = [Meter(CentredGaussian(0.3, kelvin), 10) for kelvin in (310.0, 620.0)]
    with pytest.raises(ValueError, match="several temperatures"):
        improve(start, [peptides[0], peptides[0]], meters, TuningSettings(rounds=0))


def test_every_round_is_drawn_in_the_precision_of_the_flow() -> None:
    fine_flow = Prose(tiny_network(dtype=torch.float32), device="cpu")
    coarse_flow = Prose(fine_flow.network, device="cpu", precision="bfloat16")
    for rounds in (0, 1):
        settings = TuningSettings(rounds=rounds, steps=1, tuning_batch=4, learning_rate=1e-30)
        (tuned, (rough,)), (_, (fine,)) = (
            improve(prose, PEPTIDES[:1], [Meter(CentredGaussian(), 20)], settings)
            for prose in (coarse_flow, fine_flow)
        )
        assert tuned.precision == "bfloat16"
        assert not np.array_equal(rough.positions_nm, fine.positions_nm)


class Killed(Exception):
    pass


class Mortal(CentredGaussian):
    """Gives energies of so many blocks; then the process is killed."""

    blocks = 0

    def energy(self, frames_nm: np.ndarray) -> np.ndarray:
        if not Mortal.blocks:
            raise Killed
        Mortal.blocks -= 1
        return super().energy(frames_nm)


SETTINGS = TuningSettings(rounds=2, steps=2, tuning_batch=4, learning_rate=1e-2)
BUDGETS = (32, 90)


def improve_once(start: Prose, blocks: int, folder: Path | None, **more):
    Mortal.blocks = blocks
    meters = [Meter(Mortal(), budget) for budget in BUDGETS]
    return *improve(start, PEPTIDES, meters, SETTINGS, seed=3, folder=folder, **more), meters


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


@pytest.mark.parametrize("blocks", [1, 4])
def test_a_run_that_is_killed_goes_on_with_the_same_numbers(
    start: Prose, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, blocks: int
) -> None:
    """In blocks of 10 frames the rounds have 4, 4 and 5 blocks: it is killed before every one, or about each round."""
    monkeypatch.setattr(improvement, "BLOCK_PROPOSALS", 10)
    expected, ensembles, meters = improve_once(start, 100, None)
    kills = 0
    while True:
        try:
            tuned, again, spent = improve_once(start, blocks, tmp_path / "kept")
            break
        except Killed:
            kills += 1
    assert kills == {1: 12, 4: 3}[blocks]
    weights, others = (list(prose.network.parameters()) for prose in (expected, tuned))
    assert all(torch.equal(one, other) for one, other in zip(weights, others, strict=True))
    for one, other in zip(ensembles, again, strict=True):
        assert one.arrays().keys() == other.arrays().keys()
        assert all(np.array_equal(array, other.arrays()[name]) for name, array in one.arrays().items())
    assert [meter.ledger for meter in meters] == [meter.ledger for meter in spent]


def test_proposals_of_finished_rounds_are_let_go(start: Prose, tmp_path: Path) -> None:
    with pytest.raises(Killed):
        improve_once(start, 3, tmp_path)
    kept = {"arguments.json", "improve.lock", "weights.npz", "1-0-000000.npz"}
    assert names(tmp_path) == kept


@pytest.mark.parametrize("stored", [False, True])
def test_a_run_that_is_killed_at_its_end_stores_the_same_results(
    start: Prose, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stored: bool
) -> None:
    """While it stores its results, or then, before anything is removed: it goes on, and proposes nothing again."""
    results, folder = [], tmp_path / "kept"

    def die(*results: object) -> None:
        raise Killed

    def store(tuned: Prose, ensembles: list[Ensemble]) -> None:
        results.append((*tuned.network.state_dict().values(), *(one.log_weights for one in ensembles)))

    with monkeypatch.context() as patched:
        patched.setattr(Checkpoint, "remove", die)
        with pytest.raises(Killed):
            improve_once(start, 100, folder, store=store if stored else die)
    assert {"arguments.json", "weights.npz"} < names(folder)
    improve_once(start, 0, folder, store=store)
    assert not folder.exists()
    improve_once(start, 100, None, store=store)
    for one, other in zip(results[0], results[-1], strict=True):
        np.testing.assert_array_equal(np.asarray(one), np.asarray(other))


def test_a_removal_that_is_killed_is_ended_by_the_next_run(
    start: Prose, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def die(path: Path, **options: object) -> None:
        raise Killed

    with monkeypatch.context() as patched, pytest.raises(Killed):
        improve_once(start, 100, tmp_path, store=lambda *results: patched.setattr(Path, "unlink", die))
    left = names(tmp_path)
    assert {"finished-arguments.json", "weights.npz"} < left
    assert not checkpoints.begun(tmp_path)
    seen: list[str] = []
    with pytest.raises(Killed):
        improve_once(start, 0, tmp_path, resumed=seen.append)
    assert not seen
    assert names(tmp_path) == {"arguments.json", "improve.lock"}


def test_what_a_kill_before_the_first_file_leaves_is_no_hindrance(start: Prose, tmp_path: Path) -> None:
    for name in ("improve.lock", ".arguments.json.host-1.partial"):
        (tmp_path / name).touch()
    improve_once(start, 100, tmp_path)


def test_files_of_somebody_else_are_refused_and_kept(start: Prose, tmp_path: Path) -> None:
    for name in ("weights.npz", "0-0-000000.npz"):
        (tmp_path / name).write_bytes(b"mine")
    with pytest.raises(ValueError, match=r"holds 0-0-000000.npz and no arguments.json.*give another folder"):
        improve_once(start, 100, tmp_path)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == {
        "weights.npz": b"mine",
        "0-0-000000.npz": b"mine",
    }


def test_other_files_in_the_folder_of_a_run_stay(start: Prose, tmp_path: Path) -> None:
    improve_once(start, 100, tmp_path)
    (tmp_path / "notes.txt").write_text("mine")
    improve_once(start, 0, tmp_path, store=lambda *results: None)
    assert names(tmp_path) == {"notes.txt"}


HOLD = """
import sys
from pathlib import Path
from prosebench.prose.checkpoint import open_checkpoint
with open_checkpoint(Path(sys.argv[1]), {}, {}):
    print("held", flush=True)
    sys.stdin.read()
"""


def test_one_process_works_on_a_folder(tmp_path: Path) -> None:
    command = [sys.executable, "-c", HOLD, str(tmp_path)]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=os.environ)
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == b"held\n"
        said = f"another process works on {tmp_path}; wait for it or give another folder"
        with pytest.raises(ValueError, match=said), open_checkpoint(tmp_path, {}, {}):
            pass
        assert "arguments.json" in names(tmp_path)
    finally:
        process.kill()
        process.communicate()
    with open_checkpoint(tmp_path, {}, {}):
        pass


def test_a_file_system_without_locks_is_worked_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_locks(*_: object) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", no_locks)
    with open_checkpoint(tmp_path, {}, {}) as checkpoint:
        checkpoint.remove()
    assert not tmp_path.exists()


def test_other_threads_are_warned_of(start: Prose, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    improve_once(start, 100, tmp_path)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        improve_once(start, 0, tmp_path)
    setup = improvement._setup(start)
    monkeypatch.setattr(improvement, "_setup", lambda prose: setup | {"threads": setup["threads"] + 1})
    with pytest.warns(
        UserWarning, match=r"threads was \d+ and is \d+: numbers may differ in their last digits"
    ):
        improve_once(start, 0, tmp_path)


def test_a_meter_that_has_spent_something_is_refused(start: Prose, tmp_path: Path) -> None:
    meters = [Meter(CentredGaussian(), 60), Meter(CentredGaussian(), 60)]
    meters[1].energy(np.zeros((2, PEPTIDES[1].n_atoms, 3), dtype=np.float32))
    with pytest.raises(ValueError, match="the meter for GA has spent 2 of its budget of 60 already"):
        improve(start, PEPTIDES, meters, SETTINGS, folder=tmp_path / "kept")
    assert [meter.spent for meter in meters] == [0, 2]
    assert not (tmp_path / "kept").exists()


def test_weights_of_another_description_are_the_same(start: Prose) -> None:
    other = Prose(Network(tiny_config(description="other words")), device="cpu")
    other.network.load_state_dict(start.network.state_dict())
    assert improvement._sha256(other) == improvement._sha256(start)
    other = Prose(Network(tiny_config(max_residues=3)), device="cpu")
    other.network.load_state_dict(start.network.state_dict())
    assert improvement._sha256(other) != improvement._sha256(start)


def test_no_two_streams_are_the_same() -> None:
    """numpy takes seeds that differ by zeros at their end for the same one."""
    keys = [(1, done) for done in range(3)]
    keys += [(0, done, index, block) for done in range(3) for index in range(3) for block in range(3)]
    assert len({improvement._rng(0, *key).integers(2**63) for key in keys}) == len(keys)


def test_a_folder_of_another_call_is_refused(start: Prose, tmp_path: Path) -> None:
    def call(settings: TuningSettings = SETTINGS, **changes: object) -> None:
        given = {"peptide": PEPTIDES[0], "budget": 30, "kelvin": 310.0, "seed": 0, "flow": start}
        given |= {"com": "gaussian"} | changes
        meters = [Meter(Mortal(temperature_kelvin=given["kelvin"]), given["budget"])]
        more = {"seed": given["seed"], "com": given["com"], "folder": tmp_path}
        improve(given["flow"], [given["peptide"]], meters, settings, **more)

    Mortal.blocks = 0
    with pytest.raises(Killed):
        call()
    other = Prose(Network(tiny_config()), device="cpu")
    coarse = Prose(start.network, device="cpu", precision="tf32")
    for changes, said in (
        ({"peptide": PEPTIDES[1]}, "peptides was GG and is GA;"),
        ({"budget": 40, "seed": 2}, "budget was 30 and is 40; seed was 0 and is 2;"),
        ({"kelvin": 400.0}, "temperature_kelvin was 310.0 and is 400.0;"),
        ({"com": "published"}, "com was gaussian and is published;"),
        ({"flow": other}, "SHA-256 of the weights was"),
        ({"flow": coarse}, "precision was float32 and is tf32;"),
        ({"settings": SETTINGS.model_copy(update={"steps": 3})}, "steps was 2 and is 3;"),
    ):
        with pytest.raises(ValueError, match="holds an unfinished run with other arguments") as caught:
            call(**changes)
        assert said in str(caught.value)
    with pytest.raises(Killed):
        call()
