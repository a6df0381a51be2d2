"""`prosebench fetch` as a user types it, against a hub on this machine that cuts transfers and sends wrong bytes."""

import errno
import io
import json
import os
import subprocess
import sys
import tarfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import mdtraj
import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from prosebench.check import doctor
from prosebench.cli import app
from prosebench.frames.features import tica_features
from prosebench.frames.tica import fit_tica
from prosebench.prose.weights import to_published
from prosebench.reference import Reference, bundled_folder
from prosebench.store.hub import hub_problem
from prosebench.store.manifest import MANIFEST, read_manifest
from prosebench.store.places import DATASET, HUB_REPOSITORY, frames_file, topologies_file
from prosebench.store.storage import file_sha256
from tests.hub_server import COMMIT, LocalHub, serving
from tests.prosebench.prose.conftest import tiny_network

WEIGHTS = "transferable/prose_up_to_8aa.pth"
FRAMES, TOPOLOGIES = frames_file("AA", "test"), topologies_file("test")
N_FRAMES = 600

SUITE = """
name = "mine"
peptides = ["AA", "GGGG"]
budgets = [60]
frames = 60
[target]
engine = "openmm"
[methods.prose-snis]
weights = "prose-up-to-8aa"
size = "{size}"
[methods.md]
warm_up_ps = 0.1
"""


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[LocalHub]:
    """Files of the published formats, with tiny weights; of the two peptides of the suite it knows one."""
    weights, data = tmp_path / "hub" / "weights", tmp_path / "hub" / "data"
    (weights / WEIGHTS).parent.mkdir(parents=True)
    torch.save(to_published(tiny_network(0, dtype=torch.float32)), weights / WEIGHTS)
    _write_frames(data / FRAMES)
    _write_topologies(data / TOPOLOGIES)
    with serving(LocalHub({f"models/{HUB_REPOSITORY}": weights, f"datasets/{DATASET}": data})) as running:
        yield running


@pytest.fixture
def suite(tmp_path: Path) -> Path:
    size, path = tmp_path / "tiny.toml", tmp_path / "mine.toml"
    config = tiny_network().config.model_dump(mode="json", exclude={"description"})
    size.write_text("".join(f"{key} = {json.dumps(value)}\n" for key, value in config.items()))
    path.write_text(SUITE.format(size=size))
    return path


def _write_frames(path: Path) -> None:
    reference = Reference.load(bundled_folder() / "AA.npz")
    frames = reference.scored.positions_nm[:N_FRAMES]
    features = tica_features(frames, reference.peptide.topology)
    basis = fit_tica([features], 1, koopman_reweighting=False)
    path.parent.mkdir(parents=True)
    arrays = {"tica_projection": basis.projection, "tica_mean": basis.mean, "tica_dim": np.array(2)}
    np.savez(path, positions=frames, **arrays)


def _write_topologies(path: Path) -> None:
    peptide = Reference.load(bundled_folder() / "AA.npz").peptide
    pdb = path.with_name("AA.pdb")
    pdb.parent.mkdir(parents=True)
    mdtraj.Trajectory(peptide.start_nm[None], peptide.topology).save(str(pdb))
    with tarfile.open(path, "w") as archive:
        content = pdb.read_bytes()
        member = tarfile.TarInfo("test/AA.pdb")
        member.size = len(content)
        archive.addfile(member, io.BytesIO(content))
    pdb.unlink()


@pytest.fixture
def prosebench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., str]]:
    """Runs a command where the hub is at a URL; gives what it prints, and the error that it ends with."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("PROSEBENCH_DATA", raising=False)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hf"))

    def command(url: str, *arguments: str, code: int = 0) -> str:
        monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", url)
        template = f"{url}/{{repo_id}}/resolve/{{revision}}/{{filename}}"
        monkeypatch.setattr("huggingface_hub.constants.HUGGINGFACE_CO_URL_TEMPLATE", template)
        hub_problem.cache_clear()
        done = CliRunner().invoke(app, list(arguments))
        refused = done.exception is not None and not isinstance(done.exception, SystemExit)
        # What the entry point makes of errors that it knows: one line, and status 2.
        assert (2 if refused else done.exit_code) == code, done.output + repr(done.exception)
        return done.output + (str(done.exception) if refused else "")

    yield command
    hub_problem.cache_clear()


Prosebench = Callable[..., str]


FETCH = ("fetch", "--suite", "mine.toml", "--to", "data")
CHECK = ("fetch", "--suite", "mine.toml", "--check", "data")
NOWHERE = "http://127.0.0.1:9"


def test_a_suite_is_fetched_checked_and_run_without_the_hub(
    hub: LocalHub, suite: Path, tmp_path: Path, prosebench: Prosebench, monkeypatch: pytest.MonkeyPatch
) -> None:
    said = prosebench(hub.url, *FETCH)
    assert "mine needs 3 files" in said
    assert f"commit {COMMIT}" in said
    assert "nothing is published of GGGG; `prosebench reference --suite mine.toml`" in said
    assert "all 3 files are in data, verified" in said
    files = read_manifest(tmp_path / "data").files
    assert set(files) == {WEIGHTS, FRAMES, TOPOLOGIES}
    for path, entry in files.items():
        assert entry.sha256 == file_sha256(tmp_path / "data" / path)
        assert (entry.commit, entry.revision) == (COMMIT, "main")
    before = hub.sent.copy()
    assert "to get: 0, 0 bytes" in prosebench(hub.url, *FETCH)
    assert hub.sent == before, "what is there is not sent again"
    checked = prosebench(NOWHERE, *CHECK, code=1)
    assert "3 files of mine are there and verified, 1 lack" in checked
    assert "frames of GGGG: not there" in checked
    monkeypatch.setenv("PROSEBENCH_DATA", "data")
    line = ("run", "--suite", "mine.toml", "--dir", "run", "--workers", "1")
    planned = prosebench(NOWHERE, *line, "--dry-run")
    assert "references here: 1 of 2; published weights here: 1 of 1" in planned
    assert "2 cells wait for what is not here" in planned
    done = prosebench(NOWHERE, *line, "--peptides", "AA", "--no-report")
    assert f"AA: {N_FRAMES} published frames in references/AA.npz" in done
    records = list((tmp_path / "run" / "cells").glob("AA-*/record.json"))
    assert {json.loads(path.read_text())["status"] for path in records} == {"done"}
    (flow,) = (path for path in records if "prose-snis" in path.parent.name)
    assert json.loads(flow.read_text())["cell"]["settings"]["weights_sha256"] == files[WEIGHTS].sha256
    assert "3 files verified" in doctor._published_data().found


def test_the_endpoint_of_the_hub_is_that_of_its_client(hub: LocalHub, suite: Path, tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "prosebench.cli", *FETCH],
        capture_output=True,
        text=True,
        timeout=300,
        cwd=tmp_path,
        check=False,
        env=os.environ | {"HF_ENDPOINT": hub.url, "HF_HOME": str(tmp_path / "hf")},
    )
    assert done.returncode == 0, done.stderr
    assert "all 3 files are in data, verified" in done.stdout


def test_a_transfer_that_is_cut_goes_on_where_it_was(
    hub: LocalHub, suite: Path, tmp_path: Path, prosebench: Prosebench, monkeypatch: pytest.MonkeyPatch
) -> None:
    size, piece = (tmp_path / "hub" / "data" / FRAMES).stat().st_size, 1000
    monkeypatch.setattr("huggingface_hub.constants.DOWNLOAD_CHUNK_SIZE", piece)
    hub.cut_after, hub.cuts = size // 3, 1
    assert "all 3 files are in data, verified" in prosebench(hub.url, *FETCH)
    assert hub.cut[FRAMES] == 1
    assert hub.asked[f"{FRAMES} from {size // 3 // piece * piece}"] == 1
    assert hub.sent[FRAMES] < size + piece, "only the piece that was cut is sent twice"


def test_a_fetch_that_breaks_off_keeps_what_it_has(
    hub: LocalHub, suite: Path, tmp_path: Path, prosebench: Prosebench
) -> None:
    hub.cut_after, hub.cuts = 0, 99
    said = prosebench(hub.url, *FETCH, code=2)
    assert "broke off" in said
    assert "the same command goes on" in said
    assert not read_manifest(tmp_path / "data").files
    # The weights, which come first, now arrive; everything else is still cut.
    hub.cut |= {WEIGHTS: 99}
    assert "broke off" in prosebench(hub.url, *FETCH, code=2)
    assert set(read_manifest(tmp_path / "data").files) == {WEIGHTS}
    hub.cuts = 0
    assert "to get: 2" in prosebench(hub.url, *FETCH)


def test_a_full_disk_is_called_so(
    hub: LocalHub, suite: Path, prosebench: Prosebench, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object, **__: object) -> None:
        try:
            raise OSError(errno.ENOSPC, "No space left on device")
        except OSError as error:
            raise RuntimeError("the client gives up") from error

    monkeypatch.setattr("huggingface_hub.hf_hub_download", full)
    said = prosebench(hub.url, *FETCH, code=2)
    assert f"there is no room left in data for {WEIGHTS}" in said
    assert "broke off" not in said


def test_a_repository_that_is_not_there_is_not_tried_again(
    hub: LocalHub, suite: Path, prosebench: Prosebench
) -> None:
    del hub.repositories[f"models/{HUB_REPOSITORY}"]
    said = prosebench(hub.url, *FETCH, code=2)
    assert f"{hub.url} has no {HUB_REPOSITORY}, or does not show it to you" in said
    assert "try again" not in said


def test_wrong_bytes_are_refused_and_removed(
    hub: LocalHub, suite: Path, tmp_path: Path, prosebench: Prosebench
) -> None:
    hub.spoilt = {FRAMES}
    said = prosebench(hub.url, *FETCH, code=2)
    assert f"{FRAMES} came twice with another content" in said
    assert not (tmp_path / "data" / FRAMES).exists()
    assert FRAMES not in read_manifest(tmp_path / "data").files
    hub.spoilt = set()
    assert "all 3 files are in data, verified" in prosebench(hub.url, *FETCH)


def test_damage_that_comes_later_is_found_and_mended(
    hub: LocalHub, suite: Path, tmp_path: Path, prosebench: Prosebench
) -> None:
    prosebench(hub.url, *FETCH)
    weights, frames = tmp_path / "data" / WEIGHTS, tmp_path / "data" / FRAMES
    content = weights.read_bytes()
    weights.write_bytes(bytes([content[0] ^ 1]) + content[1:])
    frames.write_bytes(frames.read_bytes()[:-7])
    (tmp_path / "data" / TOPOLOGIES).unlink()
    said = prosebench(NOWHERE, *CHECK, code=1)
    assert f"{WEIGHTS}: damaged: its SHA-256 is not" in said
    assert f"{FRAMES}: damaged: " in said
    assert f"{TOPOLOGIES}: not there" in said
    weights.unlink()
    assert "to get: 3" in prosebench(hub.url, *FETCH)
    assert "3 files of mine are there and verified, 1 lack" in prosebench(NOWHERE, *CHECK, code=1)


def test_a_folder_stays_at_the_commit_that_it_began_with(
    hub: LocalHub, suite: Path, tmp_path: Path, prosebench: Prosebench
) -> None:
    prosebench(hub.url, *FETCH)
    (tmp_path / "data" / TOPOLOGIES).unlink()
    asked = hub.asked["info"]
    prosebench(hub.url, *FETCH)
    assert hub.asked["info"] == asked, "no commit is looked up again"
    assert {file.commit for file in read_manifest(tmp_path / "data").files.values()} == {COMMIT}


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (FETCH, "; fetch on a machine that reaches it, and copy the folder"),
        (("fetch", "--suite", "mine.toml", "--check", "nowhere"), "there is no folder nowhere"),
        (("fetch", "--suite", "mines"), "unknown suite 'mines'"),
    ],
)
def test_what_cannot_be_done_is_one_line(
    arguments: tuple[str, ...], said: str, suite: Path, prosebench: Prosebench
) -> None:
    start = time.monotonic()
    told = prosebench(NOWHERE, *arguments, code=2)
    assert said in told
    assert len(told.strip().splitlines()) == 1
    assert time.monotonic() - start < 15


def test_a_list_that_is_damaged_is_named(
    hub: LocalHub, suite: Path, tmp_path: Path, prosebench: Prosebench
) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / MANIFEST).write_text('{"files": {"a": 1}}')
    assert "is not a list of fetched files (files.a" in prosebench(NOWHERE, *CHECK, code=2)


SAMPLE = ("sample", "AA", "-n", "4", "--weights", "prose-up-to-8aa", "--out", "x.npz")


def test_a_cache_that_cannot_be_written_is_named(
    hub: LocalHub, tmp_path: Path, prosebench: Prosebench
) -> None:
    (tmp_path / "hf").write_text("a file where the folder of the cache should be")
    said = prosebench(hub.url, *SAMPLE, code=2)
    assert f"cannot be had (NotADirectoryError: [Errno 20] Not a directory: '{tmp_path / 'hf'}/" in said
    assert "and give the path of your copy instead" in said


@pytest.mark.parametrize("says_why", [True, False])
@pytest.mark.parametrize("lacks", ["file", "repository"])
def test_a_404_is_not_taken_for_a_lack_of_connection(
    lacks: str, says_why: bool, hub: LocalHub, tmp_path: Path, prosebench: Prosebench
) -> None:
    """A mirror may answer without the code by which the client knows what is not there."""
    hub.says_why = says_why
    if lacks == "file":
        (tmp_path / "hub" / "weights" / WEIGHTS).unlink()
    else:
        del hub.repositories[f"models/{HUB_REPOSITORY}"]
    said = prosebench(hub.url, *SAMPLE, code=2)
    assert "connection" not in said
    if lacks == "file" and says_why:
        assert (
            f"{WEIGHTS} of https://huggingface.co/{HUB_REPOSITORY} does not exist at revision 'main'" in said
        )
    else:
        assert "404" in said
        assert "and give the path of your copy instead" in said
