"""Training data by the command that a user types: shards that training reads, and never a peptide of a suite."""

from pathlib import Path

import pytest
from typer.testing import CliRunner

from prosebench.cli import app
from prosebench.training.data import BatchStream, TrainingData
from prosebench.training.shards import ExcludedPeptide

ARGUMENTS = ["reference", "--training", "--tempering-ns", "0.0004", "--frames", "20", "--workers", "1"]


def test_training_data_are_made_by_one_command_and_read(tmp_path: Path) -> None:
    folders = ["--out", str(tmp_path / "data"), "--dir", str(tmp_path / "run")]
    result = CliRunner().invoke(app, [*ARGUMENTS, "--peptides", "AG,GA", *folders])
    assert result.exit_code == 0, result.output
    data = TrainingData(str(tmp_path / "data"), longest=2)
    assert data.residues == "AG"
    stream = BatchStream(data, batch=4, mix="peptide", window_shards=1, seed=0, rank=0, world=1)
    batch, _ = next(stream.batches())
    assert batch.positions_nm.shape == (4, data.peptide(batch.sequences[0]).n_atoms, 3)
    assert f"in {tmp_path / 'data'}" in result.output.replace("\n", "")


def test_a_peptide_of_a_suite_is_refused_before_any_work(tmp_path: Path) -> None:
    folders = ["--out", str(tmp_path / "data"), "--dir", str(tmp_path / "run")]
    result = CliRunner().invoke(app, [*ARGUMENTS, "--peptides", "AG,AA", *folders])
    assert isinstance(result.exception, ExcludedPeptide)
    assert "AA" in str(result.exception)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("arguments", [["reference"], ["reference", "--training"]])
def test_what_is_missing_is_asked_for(arguments: list[str]) -> None:
    result = CliRunner().invoke(app, arguments)
    assert "--peptides AG,GA" in str(result.exception)


@pytest.mark.parametrize("option", [["--dry-run"], ["--temperature", "400"], ["--executor", "slurm"]])
def test_options_that_training_data_cannot_follow_are_refused(tmp_path: Path, option: list[str]) -> None:
    line = ["reference", "--training", "--peptides", "GA", "--dir", str(tmp_path / "run"), *option]
    found = CliRunner().invoke(app, line)
    assert f"does not go with {option[0]}" in str(found.exception)
    assert not (tmp_path / "run").exists()


def test_published_references_are_at_their_own_temperature_alone(tmp_path: Path) -> None:
    line = [
        "reference",
        "--suite",
        "temperatures",
        "--published",
        "--temperature",
        "393",
        "--out",
        str(tmp_path),
    ]
    found = CliRunner().invoke(app, line)
    assert "published data is at 310 K" in str(found.exception)
    assert not list(tmp_path.iterdir())
