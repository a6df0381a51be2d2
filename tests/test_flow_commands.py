"""Commands around the flow say how far their frames can be trusted, and what is wrong with an option."""

from pathlib import Path

import pytest
from typer.testing import CliRunner

from prosebench.cli import app

IDENTITY = ["--weights", "identity"]


def test_resampled_frames_are_counted_and_warned_of(tmp_path: Path) -> None:
    line = ["sample", "GG", "-n", "40", *IDENTITY, "--resample", "--out", str(tmp_path / "gg.pdb")]
    said = CliRunner().invoke(app, line)
    assert said.exit_code == 0, said.output
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
            "--set round: Extra inputs are not permitted; known: temperature, rounds, steps",
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


def test_peptides_beyond_the_training_are_warned_of(tmp_path: Path) -> None:
    line = ["sample", "AW", "-n", "2", "--weights", "prose-mini", "--out", str(tmp_path / "aw.npz")]
    said = CliRunner().invoke(app, line)
    assert said.exit_code == 0, said.output
    assert "warning: AW: prose-mini has never seen W; it knows AFGKSV" in said.output


def test_impossible_numbers_are_refused(tmp_path: Path) -> None:
    for options in (["-n", "0"], ["--temperature", "-3"], ["--temperature", "inf"], ["--seed", "-1"]):
        line = ["sample", "GG", *IDENTITY, "--out", str(tmp_path / "gg.pdb"), *options]
        assert CliRunner().invoke(app, line).exit_code == 2
