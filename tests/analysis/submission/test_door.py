"""The door for results of strangers, fuzzed: whatever comes is accepted and can be scored, or is refused in one line.

Records, ledgers and arrays are made from a sound run by changes that hypothesis thinks of. Where it can be,
a change is hidden as a forger would: hashes, ids and names of folders are made to fit, so that later checks see it.
"""

import json
import math
import shutil
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from pydantic import ValidationError

from analysis.board.kept_runs import collect, read_run
from analysis.scores.run import score_run
from analysis.scores.statuses import SCORED
from analysis.submission.cells import check_cells
from prosebench.energy.meter import Counts, Ledger
from prosebench.energy.settings import TargetSettings, make_target
from prosebench.ensemble import Ensemble
from prosebench.peptide import Peptide
from prosebench.peptide.force_field import system_hash
from prosebench.record import Cell, Provenance, Record, write_record
from prosebench.reference import build_reference
from prosebench.store.storage import arrays_bytes, file_sha256, write_json
from tests.analysis.submission.fuzzing import fuzzed

SEQUENCE, FRAMES, BUDGET = "GG", 24, 100
PATIENCE_SECONDS = 30.0
"""Most of it is for a machine with much else to do: a case takes a tenth of a second."""


def shaken(peptide: Peptide, n: int, seed: int) -> Ensemble:
    """Frames around the start structure, each a little further than the last."""
    rng = np.random.default_rng(seed)
    steps = rng.normal(scale=2e-3, size=(n, peptide.n_atoms, 3))
    for i in range(1, n):
        steps[i] += 0.7 * steps[i - 1]
    frames = (peptide.start_nm + steps).astype(np.float32)
    return Ensemble(
        frames, make_target(peptide, TargetSettings()).energy(frames), evaluations=np.arange(1, n + 1) * 4
    )


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A sound cell, in `run`, and a reference, in `references`."""
    home, peptide = tmp_path_factory.mktemp("door"), Peptide.from_sequence(SEQUENCE)
    reference = build_reference(
        peptide,
        [shaken(peptide, 200, 1)],
        frame_interval_ps=1.0,
        lag_frames=2,
        n_frames=120,
        seed=0,
        source={"kind": "test"},
        koopman_reweighting=False,
    )
    (home / "references").mkdir()
    reference.save(home / "references" / f"{SEQUENCE}.npz")
    cell = Cell(
        suite="own",
        peptide=SEQUENCE,
        row="theirs",
        method="theirs",
        settings={"steps": 3, "names": ["a"]},
        budgets=(50, BUDGET),
        frames=FRAMES,
        seed=0,
        target=TargetSettings(),
    )
    folder = home / "run" / "cells" / cell.folder_name
    write_json(folder / "cell.json", cell.model_dump(mode="json"))
    digest = shaken(peptide, FRAMES, 2).save(folder / "ensemble.npz")
    record = Record(
        cell_id=cell.id,
        cell=cell,
        status="done",
        ledger=Ledger(sampling=Counts(evaluations=BUDGET, energies=BUDGET)),
        frames=FRAMES,
        chunks=1,
        ensemble_sha256=digest,
        force_field_hash=system_hash(peptide.system()),
        start_hash="0" * 64,
        target={"engine": "batched"},
        gate_deviation_kj_mol=0.0,
        diagnostics={"ess": [0.5, None]},
        versions={"prosebench": "0.1.0"},
    )
    provenance = Provenance(
        host="node",
        device="cpu",
        commit="a",
        started="b",
        finished="c",
        sittings=1,
        seconds={"sampling": 1.0},
    )
    write_record(folder, record, provenance)
    return home


@pytest.fixture
def scratch(tmp_path: Path) -> Path:
    return tmp_path / "run"


def fresh(sound: Path, scratch: Path) -> Path:
    """The folder of the one cell, in a new copy of the run."""
    shutil.rmtree(scratch, ignore_errors=True)
    shutil.copytree(sound / "run", scratch)
    return next((scratch / "cells").iterdir())


def judge(sound: Path, scratch: Path) -> bool:
    """Whether a run is accepted; then it can be scored and kept. Else every reason is a line, found in good time."""
    references, started = [sound / "references"], time.monotonic()
    reasons = check_cells(scratch, references).reasons
    assert time.monotonic() - started < PATIENCE_SECONDS
    for reason in reasons:
        assert reason.isprintable()
        assert 0 < len(reason) < 4000
    if reasons:
        return False
    scores = score_run(scratch, references)
    assert set(scores["status"]) <= {*SCORED, "skipped", "failed"}
    scored = scores[scores["status"].isin(SCORED)]
    assert not scored["value"].isna().any() or set(scored.loc[scored["value"].isna(), "metric"]) <= {"k-hat"}
    distances = scored[scored["metric"].isin(["energy-w2", "torus-w2", "tica-w2"])]["value"]
    # Frames that are not finite make a distance infinite; nothing else does.
    assert np.isfinite(distances).all() or (scored[scored["metric"] == "non-finite"]["value"] > 0).any()
    if len(scored):
        kept = collect(scratch, scratch.parent / "kept", references, name="kept")
        assert read_run(kept).records
    return True


odd_numbers = st.one_of(
    st.sampled_from(
        [0, -1, 1, -3, 10**30, -(10**30), 2**63, 2**64, 1e400, -1e400, math.nan, 1e308, 5e-324, 0.5, -0.0]
    ),
    st.integers(),
    st.floats(),
)
odd_texts = st.one_of(
    st.sampled_from(
        ["", "..", "../x", "/etc/passwd", "a\nb", "\x1b[2J", "\ud800", "md", "0" * 64, "x" * 5000, "nan"]
    ),
    st.text(max_size=20),
)
json_values = st.recursive(
    st.one_of(st.none(), st.booleans(), odd_numbers, odd_texts),
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(odd_texts, inner, max_size=4)),
    max_leaves=6,
)


def places(content: Any, place: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Ways to every value inside JSON."""
    found = [place] if place else []
    parts = (
        content.items()
        if isinstance(content, dict)
        else enumerate(content)
        if isinstance(content, list)
        else ()
    )
    for name, value in parts:
        found += places(value, (*place, name))
    return found


def alter(content: Any, data: st.DataObject) -> Any:
    """JSON with one value changed, left out, or added."""
    *way, last = data.draw(st.sampled_from(places(content)))
    inside = content
    for name in way:
        inside = inside[name]
    what = data.draw(st.sampled_from(["change", "change", "change", "leave out", "add", "double"]))
    if what == "leave out":
        del inside[last]
    elif what == "add" and isinstance(inside, dict):
        inside[data.draw(odd_texts)] = data.draw(json_values)
    elif what == "double" and isinstance(inside, list):
        inside.append(inside[last])
    else:
        inside[last] = data.draw(json_values)
    return content


def make_fit(folder: Path) -> Path:
    """Hide a change: the cell in both files, its id, the name of its folder, and the hash of the frames."""
    try:
        cell = Cell.model_validate_json((folder / "cell.json").read_bytes())
        content = json.loads((folder / "record.json").read_bytes())
        content |= {"cell": cell.model_dump(mode="json"), "cell_id": cell.id}
        if (folder / "ensemble.npz").exists():
            content["ensemble_sha256"] = file_sha256(folder / "ensemble.npz")
        (folder / "record.json").write_text(json.dumps(content))
        return folder.rename(folder.with_name(cell.folder_name))
    except (ValidationError, ValueError, OSError, TypeError):
        return folder


@fuzzed(200)
@given(data=st.data())
def test_records_that_are_changed(data: st.DataObject, sound: Path, scratch: Path) -> None:
    folder = fresh(sound, scratch)
    name = data.draw(st.sampled_from(["cell.json", "record.json", "record.json", "provenance.json"]))
    content = json.loads((folder / name).read_text())
    for _ in range(data.draw(st.integers(1, 2))):
        assume(content)
        content = alter(content, data)
    (folder / name).write_text(json.dumps(content))
    if data.draw(st.booleans()):
        make_fit(folder)
    judge(sound, scratch)


@fuzzed(80)
@given(
    name=st.sampled_from(["cell.json", "record.json", "provenance.json", "failure.json", "ensemble.npz"]),
    cut=st.integers(0, 3000),
    put=st.binary(max_size=8),
    keep=st.booleans(),
)
def test_files_that_are_damaged(
    name: str, cut: int, put: bytes, keep: bool, sound: Path, scratch: Path
) -> None:
    folder = fresh(sound, scratch)
    if name == "failure.json":
        (folder / "record.json").unlink()
        write_json(folder / name, {"reason": "it blew up"})
    content = (folder / name).read_bytes()
    (folder / name).write_bytes(content[:cut] + put + (content[cut + len(put) :] if keep else b""))
    make_fit(folder)
    judge(sound, scratch)


counts = st.fixed_dictionaries(
    {name: st.integers(-2, BUDGET + 2) for name in ("evaluations", "energies", "gradients", "failures")}
)


@fuzzed(80)
@given(sampling=counts, preparation=counts)
def test_ledgers(sampling: dict[str, int], preparation: dict[str, int], sound: Path, scratch: Path) -> None:
    folder = fresh(sound, scratch)
    content = json.loads((folder / "record.json").read_text())
    content["ledger"] = {"sampling": sampling, "preparation": preparation}
    (folder / "record.json").write_text(json.dumps(content))
    accepted = judge(sound, scratch)
    right = all(
        min(one.values()) >= 0
        and max(one["energies"], one["gradients"]) <= one["evaluations"] <= one["energies"] + one["gradients"]
        and one["failures"] <= one["evaluations"]
        for one in (sampling, preparation)
    )
    assert accepted == (right and 4 * FRAMES <= sampling["evaluations"] <= BUDGET)


KINDS = ["<f4", "<f8", ">f8", "<f2", "<i8", "<u8", "?", "<c16", "<U3", "S2", "<M8[s]", "V4"]


@st.composite
def odd_arrays(draw: st.DrawFn, right: np.ndarray) -> np.ndarray:
    """An array that was right: some values, its shape, or its kind are others."""
    what = draw(st.sampled_from(["values", "values", "kind", "shape", "shuffle", "all"]))
    made = right.copy()
    if what == "values":
        for place in draw(st.lists(st.integers(0, made.size - 1), min_size=1, max_size=4)):
            value = draw(st.sampled_from([0.0, -1.0, 1e38, -1e38, 1e300, np.nan, np.inf, -np.inf, 1e6, 7.5]))
            with np.errstate(over="ignore", invalid="ignore"):
                made.reshape(-1)[place] = (
                    value if made.dtype.kind == "f" else (int(value) if abs(value) < 1e18 else -(2**63))
                )
    elif what == "kind":
        kind = np.dtype(draw(st.sampled_from(KINDS)))
        with np.errstate(over="ignore", invalid="ignore"):
            made = np.zeros(made.shape, kind) if kind.kind in "MV" else made.astype(kind)
    elif what == "shape":
        made = made.reshape(-1)[: draw(st.integers(0, made.size))]
        made = made.reshape(draw(st.sampled_from([(-1,), (1, -1), (-1, 1, 1)])))
    elif what == "shuffle":
        made = made[np.random.default_rng(draw(st.integers(0, 9))).permutation(len(made))]
    else:
        made[...] = made.reshape(-1)[0]
    return made


@fuzzed(150)
@given(data=st.data())
def test_arrays_that_are_changed(data: st.DataObject, sound: Path, scratch: Path) -> None:
    folder = fresh(sound, scratch)
    arrays = Ensemble.load(folder / "ensemble.npz").arrays()
    if data.draw(st.booleans()):
        arrays["log_weights"] = np.linspace(-2.0, 0.0, FRAMES)
    for name in data.draw(st.lists(st.sampled_from(sorted(arrays)), min_size=0, max_size=2)):
        what = data.draw(st.sampled_from(["change", "change", "change", "leave out", "rename"]))
        if name not in arrays:
            continue
        if what == "change":
            arrays[name] = data.draw(odd_arrays(arrays[name])) if arrays[name].size else arrays[name]
        else:
            array = arrays.pop(name)
            if what == "rename":
                arrays[data.draw(st.sampled_from(["weights", "x", "../evil", "a/b"]))] = array
    (folder / "ensemble.npz").write_bytes(arrays_bytes(arrays, compress=data.draw(st.booleans())))
    content = json.loads((folder / "record.json").read_text())
    if data.draw(st.booleans()):
        shapes = [array.shape for array in arrays.values() if array.ndim]
        content["frames"] = shapes[0][0] if shapes else 0
    (folder / "record.json").write_text(json.dumps(content))
    make_fit(folder)
    judge(sound, scratch)


def test_the_sound_run_is_accepted(sound: Path, scratch: Path) -> None:
    fresh(sound, scratch)
    assert judge(sound, scratch)
