"""Frames from the command line: by a method, and of a finished cell."""

from pathlib import Path

import mdtraj
import numpy as np
import pytest
from typer.testing import CliRunner

from prosebench.cli import app
from prosebench.ensemble import Ensemble

SHORT = ["--set", "warm_up_ps=0.2", "--set", "chunk_steps=200"]


def said(*arguments: str) -> str:
    """What a command prints, or the message of its refusal."""
    found = CliRunner().invoke(app, arguments)
    return " ".join(f"{found.output} {found.exception or ''}".split())


@pytest.mark.parametrize("suffix", [".xtc", ".dcd", ".pdb", ".npz"])
def test_md_from_the_command_line(suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"gg{suffix}"
    line = ["sample", "GG", "--method", "md", "--budget", "400", "-n", "20", *SHORT, "--out", str(path)]
    assert "20 frames of GG by md, 400 energy evaluations, median energy" in said(*line)
    if suffix == ".npz":
        assert len(Ensemble.load(path)) == 20
    else:
        top = str(path.with_suffix(".pdb"))
        assert mdtraj.load(str(path), top=top).n_frames == 20


def test_what_was_spent_is_told_and_not_what_was_allowed(tmp_path: Path) -> None:
    """Of 407 evaluations, 16 trajectories can use 25 each."""
    line = ["sample", "GG", "--method", "md-replicas", "--budget", "407", "-n", "20", "--out"]
    assert "GG by md-replicas, 400 energy evaluations" in said(*line, str(tmp_path / "gg.npz"))


@pytest.mark.parametrize(
    ("options", "what"),
    [
        (["--method", "md", "--weights", "prose-mini"], "--weights is for flows and not for --method md"),
        (["--budget", "100"], "--budget is for --method; a flow makes -n proposals"),
        (["--set", "a=1"], "--set is for --method"),
        (["--method", "md", "--set", "friction"], "--set 'friction' is not of the form key=value"),
        (["--method", "md", "--set", "friction=1"], "known: friction_per_ps, time_step_fs"),
        (["--method", "mdd"], "unknown method 'mdd'; known: "),
    ],
)
def test_options_that_do_not_go_together(options: list[str], what: str, tmp_path: Path) -> None:
    assert what in said("sample", "GG", *options, "--out", str(tmp_path / "gg.pdb"))
    assert not list(tmp_path.iterdir())


def test_the_frames_of_a_cell_are_written(tmp_path: Path) -> None:
    (tmp_path / "mine.toml").write_text(
        'name = "mine"\npeptides = ["AA"]\nbudgets = [20, 400]\nframes = 20\nseeds = [0]\n'
        "[methods.md]\nwarm_up_ps = 0.2\n[methods.prose-snis]\n"
    )
    run = tmp_path / "run"
    line = ["run", "--suite", str(tmp_path / "mine.toml"), "--dir", str(run), "--no-report", "--workers", "1"]
    assert "2/2 cells ended" in said(*line)
    (cell,) = run.glob("cells/AA-md-*")
    out = tmp_path / "aa.xtc"
    assert f"wrote {out}" in said("export", "AA-md", "--dir", str(run), "--out", str(out)).replace(", ", " ")
    loaded = mdtraj.load(str(out), top=str(out.with_suffix(".pdb")))
    kept = Ensemble.load(cell / "ensemble.npz")
    # The first 20 steps were kept one by one, for the smaller budget.
    assert len(kept) == 39
    chosen = np.isin(kept.evaluations, np.arange(20, 401, 20))
    np.testing.assert_allclose(loaded.xyz, kept.positions_nm[chosen], atol=1e-3)
    whole = tmp_path / "all.dcd"
    assert "wrote" in said("export", "AA-md", "--dir", str(run), "--out", str(whole), "--all")
    assert mdtraj.load(str(whole), top=str(whole.with_suffix(".pdb"))).n_frames == 39
    drawn = tmp_path / "drawn.dcd"
    told = said("export", "AA-prose-snis", "--dir", str(run), "--out", str(drawn), "--resample")
    assert "400 frames drawn by weight" in told
    assert "is there already" in said("export", "AA-md", "--dir", str(run), "--out", str(out))
    (cell / "record.json").rename(cell / "kept.json")
    other = str(tmp_path / "b.xtc")
    assert "is not finished" in said("export", "AA-md", "--dir", str(run), "--out", other)


def test_help_says_what_can_be_sampled() -> None:
    text = said("sample", "--help")
    for word in ("charged ends", "no caps", "D or N-methyl", "amber14", "310", "epsilon"):
        assert word in text


def test_a_weighted_method_says_how_far_its_weights_can_be_trusted(tmp_path: Path) -> None:
    line = ["sample", "AA", "--method", "prose-snis", "--budget", "60", "--out", str(tmp_path / "aa.npz")]
    assert "of 60 frames, Pareto k-hat" in said(*line)
