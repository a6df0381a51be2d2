"""Commands around the flow say how far their frames can be trusted, and what is wrong with an option."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from typer.testing import CliRunner

from prosebench.cli import app
from prosebench.prose import Prose
from prosebench.prose.checkpoint import Checkpoint, open_checkpoint
from prosebench.prose.config import load_size
from prosebench.prose.network import Network
from prosebench.prose.weights import load_weights, to_published

IDENTITY = ["--weights", "identity"]


@pytest.fixture
def one_thread() -> Iterator[dict[str, str]]:
    """The environment of commands that compute with one thread, as this process does meanwhile."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield os.environ | {"OMP_NUM_THREADS": "1"}
    torch.set_num_threads(before)


def test_resampled_frames_are_counted_and_warned_of(tmp_path: Path) -> None:
    folder = tmp_path / "new"
    line = ["sample", "GG", "-n", "40", *IDENTITY, "--resample", "--out", str(folder / "gg.pdb")]
    said = CliRunner().invoke(app, line)
    assert said.exit_code == 0, said.output
    assert f"made the folder {folder}" in said.output.replace("\n", "")
    assert "effective sample size 1 of 40 proposals" in said.output
    assert "with the published density of the centre)" in said.output
    assert "of 40 proposals 0 mirrored, 0 chirality-wrong, " in said.output
    assert "40 frames drawn by weight, 1 of them distinct" in said.output
    assert "averages are not to be trusted" in said.output


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--set", "rounds"], "--set 'rounds' is not of the form key=value"),
        (
            ["--set", "round=3"],
            "--set: unknown key 'round'; known: temperature, rounds, steps",
        ),
        (["--budget", "4"], "a budget of 4 for GG has no proposal for each of 4 rounds and the last draw"),
    ],
)
def test_improve_names_what_is_wrong(tmp_path: Path, options: list[str], said: str) -> None:
    line = ["improve", "GG", *IDENTITY, "--out", str(tmp_path), *options]
    assert said in str(CliRunner().invoke(app, line).exception)


def test_improve_takes_a_peptide_once_and_replaces_nothing(tmp_path: Path) -> None:
    small = ["--budget", "12", "--set", "rounds=1", "--set", "steps=1", "--set", "tuning_batch=4"]
    line = ["improve", "GG", "GG", *IDENTITY, *small, "--out", str(tmp_path)]
    said = CliRunner().invoke(app, line)
    assert said.exit_code == 0, said.output
    assert said.output.count("round 1, GG") == 1
    again = str(CliRunner().invoke(app, line).exception)
    assert again.endswith("GG.npz is there already: give another name, or remove it")


SMALL = ["--budget", "9000", "--set", "rounds=2", "--set", "steps=3", "--set", "tuning_batch=8"]


LINE = ["improve", "GG", "GA", "--weights", "breathing", *SMALL, "--out"]


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """The files of LINE, computed with one thread."""
    folder, before = tmp_path_factory.mktemp("undisturbed"), torch.get_num_threads()
    torch.set_num_threads(1)
    said = CliRunner().invoke(app, [*LINE, str(folder)])
    torch.set_num_threads(before)
    assert said.exit_code == 0, said.output
    return contents(folder)


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def kill_when_there(path: Path, command: list[str], environment: dict[str, str]) -> None:
    """Run a command and kill it as soon as there is such a file."""
    process, deadline = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL), 120.0
    ends = time.monotonic() + deadline
    try:
        while not path.exists():
            assert process.poll() is None, f"the command ended before there was {path}"
            assert time.monotonic() < ends, f"there is no {path} after {deadline:.0f} s"
            time.sleep(0.001)
    finally:
        process.kill()
        assert process.wait() == -signal.SIGKILL


def test_improve_that_is_killed_goes_on_with_the_same_files(
    tmp_path: Path, one_thread: dict[str, str], undisturbed: dict[str, bytes]
) -> None:
    """Killed between rounds, and then with a result written; a file that is not of the run is not replaced."""
    command = [sys.executable, "-m", "prosebench.cli", *LINE, str(tmp_path)]
    kill_when_there(tmp_path / "unfinished" / "weights.npz", command, one_thread)
    assert {path.name for path in tmp_path.iterdir()} == {"unfinished"}
    other = CliRunner().invoke(app, [*LINE, str(tmp_path), "--seed", "1"])
    assert "unfinished run with other arguments: seed was 0 and is 1; repeat its command" in str(
        other.exception
    )
    assert "continuing" not in other.output
    (tmp_path / "GG.npz").write_bytes(undisturbed["GG.npz"])
    (tmp_path / "GA.npz").write_bytes(b"mine")
    said = CliRunner().invoke(app, [*LINE, str(tmp_path)])
    assert "GA.npz is there already and is not of this run: move it away" in str(said.exception)
    assert said.output.startswith("continuing with")
    assert "round 0" not in said.output
    assert "warning" not in said.output
    assert (tmp_path / "GA.npz").read_bytes() == b"mine"
    (tmp_path / "GA.npz").unlink()
    said = CliRunner().invoke(app, [*LINE, str(tmp_path)])
    assert said.exit_code == 0, said.output
    assert contents(tmp_path) == undisturbed
    assert undisturbed.keys() == {"GG.npz", "GA.npz", "tuned.npz"}


def test_improve_that_is_killed_before_it_tidies_up_ends_with_the_same_files(
    tmp_path: Path, one_thread: dict[str, str], undisturbed: dict[str, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    def die(checkpoint: Checkpoint) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(Checkpoint, "remove", die)
        assert CliRunner().invoke(app, [*LINE, str(tmp_path)]).exit_code != 0
    assert {path.name for path in tmp_path.iterdir()} == {*undisturbed, "unfinished"}
    arguments = tmp_path / "unfinished" / "arguments.json"
    arguments.write_text(arguments.read_text().replace('"threads": 1', '"threads": 3'))
    said = CliRunner().invoke(app, [*LINE, str(tmp_path)])
    assert said.exit_code == 0, said.output
    assert "warning: threads was 3 and is 1: numbers may differ in their last digits" in said.output
    assert contents(tmp_path) == undisturbed


def test_two_commands_do_not_work_on_one_folder(tmp_path: Path) -> None:
    unfinished = tmp_path / "unfinished"
    with open_checkpoint(unfinished, {}, {}):
        said = CliRunner().invoke(app, [*LINE, str(tmp_path)])
    assert f"another process works on {unfinished}; wait for it" in str(said.exception)


def test_tuned_weights_know_what_their_start_was_trained_on(tmp_path: Path) -> None:
    small = ["--budget", "4", "--set", "rounds=1", "--set", "steps=1", "--set", "tuning_batch=2"]
    said = CliRunner().invoke(app, ["improve", "GG", *small, "--out", str(tmp_path)])
    assert said.exit_code == 0, said.output
    tuned = load_weights(tmp_path / "tuned.npz")
    notes = tuned.source["notes"]
    assert (notes["residues"], notes["budget"], notes["temperature_kelvin"]) == ("AFGKSV", 4, 310.0)
    line = ["sample", "AW", "-n", "2", "--weights", str(tmp_path / "tuned.npz"), "--out"]
    said = CliRunner().invoke(app, [*line, str(tmp_path / "aw.npz")])
    assert "has never seen W; it knows AFGKSV" in str(said.exception)


@pytest.mark.parametrize("command", ["sample", "improve"])
def test_a_published_file_of_another_name_needs_its_size(tmp_path: Path, command: str) -> None:
    size = tmp_path / "tiny.toml"
    size.write_text(
        "channels = 16\nhead_dim = 8\nblocks = 2\nlayers_per_block = 1\nexpansion = 2\nnm_per_unit = 0.35\n"
        "max_residues = 8\n"
    )
    weights = tmp_path / "mine.pth"
    torch.save(to_published(Network(load_size(size))), weights)
    more = ["-n", "4"] if command == "sample" else ["--budget", "4", "--set", "rounds=0"]
    out = tmp_path / ("gg.npz" if command == "sample" else "improved")
    line = [command, "GG", "--weights", str(weights), *more, "--out", str(out)]
    assert "does not fit this size" in str(CliRunner().invoke(app, line).exception)
    said = CliRunner().invoke(app, [*line, "--size", str(size)])
    assert said.exit_code == 0, said.output


def test_peptides_beyond_the_training_are_refused(tmp_path: Path) -> None:
    line = ["sample", "AW", "-n", "2", "--weights", "prose-mini", "--out", str(tmp_path / "aw.npz")]
    refused = str(CliRunner().invoke(app, line).exception)
    assert refused.startswith(
        "AW: prose-mini has never seen W; it knows AFGKSV; take weights that were trained for it"
    )
    assert "--insist" in refused
    assert not list(tmp_path.iterdir())
    improved = CliRunner().invoke(app, ["improve", "AW", "--out", str(tmp_path / "improved")])
    assert "AW: prose-mini has never seen W" in str(improved.exception)
    said = CliRunner().invoke(app, [*line, "--insist"])
    assert said.exit_code == 0, said.output
    assert "warning: AW: prose-mini has never seen W; it knows AFGKSV" in said.output


def test_python_refuses_what_the_command_refuses() -> None:
    prose = Prose.from_pretrained("prose-mini")
    with pytest.raises(ValueError, match=r"AW: this flow has never seen W; it knows AFGKSV; .* insist"):
        prose.sample("AW", 2)
    assert len(prose.sample("AW", 2, insist=True)) == 2


def test_impossible_numbers_are_refused(tmp_path: Path) -> None:
    for options in (["-n", "0"], ["--seed", "-1"]):
        line = ["sample", "GG", *IDENTITY, "--out", str(tmp_path / "gg.pdb"), *options]
        assert CliRunner().invoke(app, line).exit_code == 2
    for kelvin in ("-3", "inf"):
        line = ["sample", "GG", *IDENTITY, "--out", str(tmp_path / "gg.pdb"), "--temperature", kelvin]
        assert f"--temperature {kelvin} is not between" in str(CliRunner().invoke(app, line).exception)


@pytest.mark.parametrize(
    "line",
    [
        "improve WH --weights prose-mini --out new/deep",
        "improve GG --weights nothing --out new/deep",
        "improve GG --weights identity --budget 4 --out new/deep",
        "sample WH --weights prose-mini --out new/deep/x.npz",
        "sample GG --weights nothing --out new/deep/x.npz",
        "sample GG --method mdd --out new/deep/x.npz",
        "sample GG --method md --set friction=1 --out new/deep/x.npz",
        "sample GG --method md --temperature 25 --out new/deep/x.npz",
        "sample GG --out new/deep/x.abc",
    ],
)
def test_a_refusal_leaves_no_folder(line: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    said = CliRunner().invoke(app, line.split())
    assert isinstance(said.exception, ValueError), said.output
    assert not list(tmp_path.iterdir())
