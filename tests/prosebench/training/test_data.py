import itertools
import re
import shutil
import tarfile
from pathlib import Path

import numpy as np
import pytest

from prosebench.peptide import Peptide
from prosebench.training.data import BatchStream, Position, TrainingData, TrainingDataError
from prosebench.training.shards import (
    SHARDS,
    TOPOLOGIES,
    ExcludedPeptide,
    ensemble_members,
    excluded_peptides,
    pdb_text,
    tar_bytes,
    write_shards,
)

from .conftest import SEQUENCES, ensemble_of


def take(stream: BatchStream, n: int, start: Position | None = None) -> list:
    return list(itertools.islice(stream.batches(start or Position()), n))


@pytest.fixture
def copy(folder: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(folder, tmp_path / "copy"))


def test_what_is_written_is_read(folder: Path) -> None:
    data = TrainingData(folder)
    found: dict[str, list] = {}
    for shard in data.shards:
        for sequence, frames in data.read(shard).items():
            found.setdefault(sequence, []).append(frames)
    for sequence in SEQUENCES:
        peptide = Peptide.from_sequence(sequence)
        assert data.peptide(sequence).atom_names == peptide.atom_names
        read, written = np.concatenate(found[sequence]), ensemble_of(peptide, 40).positions_nm
        order = [np.lexsort(frames[:, 0].T) for frames in (read, written)]
        np.testing.assert_array_equal(read[order[0]], written[order[1]])
    assert len(data.shards) == 4
    assert not data.faults


def test_equal_input_gives_equal_bytes(folder: Path, tmp_path: Path) -> None:
    peptides = [Peptide.from_sequence(sequence) for sequence in SEQUENCES]
    write_shards(
        tmp_path, {p.sequence: ensemble_of(p, 40) for p in reversed(peptides)}, peptides, frames_per_shard=30
    )
    for name in (f"{SHARDS}/0000.tar", f"{SHARDS}/0003.tar", TOPOLOGIES):
        assert (tmp_path / name).read_bytes() == (folder / name).read_bytes()


def test_members_are_as_published(folder: Path) -> None:
    with tarfile.open(folder / SHARDS / "0000.tar") as archive:
        member = archive.next()
        assert member is not None
        sequence, number = member.name.removesuffix(".bin").split("_")
        assert (sequence in SEQUENCES, int(number) < 40) == (True, True)
        assert member.size == 12 * Peptide.from_sequence(sequence).n_atoms


@pytest.mark.parametrize("sequence", ["AA", "AL", "RLMM", "GYDPETGTWG"])
def test_test_and_validation_peptides_are_refused(sequence: str, copy: Path) -> None:
    peptide = Peptide.from_sequence(sequence)
    suite = excluded_peptides()[sequence]
    with pytest.raises(ExcludedPeptide, match=f"{sequence}, a peptide of the suite {suite}"):
        list(ensemble_members(sequence, ensemble_of(peptide.with_start(np.zeros((peptide.n_atoms, 3))), 1)))
    foreign = tar_bytes([(f"{sequence}_0.bin", bytes(12 * peptide.n_atoms))])
    (copy / SHARDS / "0002.tar").write_bytes(foreign)
    with pytest.raises(
        ExcludedPeptide, match=rf"0002\.tar/{sequence}_0\.bin holds {sequence}.*remove its frames"
    ):
        take(BatchStream(TrainingData(copy), batch=4, mix="mixed", window_shards=4), 1)


def test_every_published_list_is_excluded() -> None:
    assert len(excluded_peptides()) >= 30 * 3 + 10 * 3 + 2
    assert not set(SEQUENCES) & set(excluded_peptides())


def test_damage_is_named_skipped_and_counted(copy: Path) -> None:
    whole = TrainingData(copy)
    expected = sum(len(frames) for shard in whole.shards for frames in whole.read(shard).values())
    first, second = copy / SHARDS / "0000.tar", copy / SHARDS / "0001.tar"
    content = first.read_bytes()
    first.write_bytes(content[: 512 + 100])  # in the midst of the first member
    with tarfile.open(second) as archive:
        members = [(info.name, archive.extractfile(info).read()) for info in archive]
    members[3] = (members[3][0], members[3][1][:-4])
    members[4] = ("notes.txt", b"hello")
    nan = np.frombuffer(members[5][1], "<f4").copy()
    nan[0] = np.nan
    members[5] = (members[5][0], nan.tobytes())
    second.write_bytes(tar_bytes(members))
    data = TrainingData(copy)
    for _ in range(2):  # what is read twice is counted once
        left = sum(len(frames) for shard in data.shards for frames in data.read(shard).values())
    assert left == expected - 30 - 3
    said = "\n".join(f"{name}: {reason}" for name, reason in sorted(data.faults.items()))
    assert len(data.faults) == 4
    assert "0000.tar: the shard is cut or damaged after its beginning" in said
    assert f"0001.tar/{members[3][0]}: it has" in said
    assert "0001.tar/notes.txt: it is not named" in said
    assert "1 frames are not finite" in said


def rewritten(shard: Path, change) -> None:
    """The shard with each member's frame changed."""
    with tarfile.open(shard) as archive:
        members = [
            (info.name, np.frombuffer(archive.extractfile(info).read(), "<f4").reshape(-1, 3))
            for info in archive
        ]
    shard.write_bytes(tar_bytes((name, change(frame).astype("<f4").tobytes()) for name, frame in members))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda frame: 10 * frame, "look like ångström: divide by 10"),
        (lambda frame: frame[::-1], "should have about 0.1"),
    ],
)
def test_frames_in_other_units_or_orders_are_left_out_and_named(copy: Path, change, said: str) -> None:
    expected = sum(len(frames) for frames in TrainingData(copy).read(f"{SHARDS}/0001.tar").values())
    rewritten(copy / SHARDS / "0001.tar", change)
    data = TrainingData(copy)
    assert data.read(f"{SHARDS}/0001.tar") == {}
    assert sorted(data.faults) == [f"0001.tar/{sequence}" for sequence in SEQUENCES]
    for reason in data.faults.values():
        assert re.match(r"all \d+ frames are left out: the bond between 1GLY-", reason)
        assert said in reason
    assert sum(int(reason.split()[1]) for reason in data.faults.values()) == expected
    for shard in (copy / SHARDS).glob("*.tar"):
        if shard.name != "0001.tar":
            rewritten(shard, change)
    with pytest.raises(
        TrainingDataError, match=r"12 faults, the first: 000\d\.tar/G\w: all \d+ frames are left"
    ):
        take(BatchStream(TrainingData(copy), batch=4, mix="mixed"), 1)


@pytest.mark.parametrize("mix", ["mixed", "peptide"])
def test_a_stream_continues_anywhere(folder: Path, mix) -> None:
    stream = BatchStream(TrainingData(folder), batch=6, mix=mix, window_shards=2)
    straight = take(stream, 40)
    assert straight[-1][1].epoch >= 1
    for stop in (1, 7, 23):
        again = take(
            BatchStream(TrainingData(folder), batch=6, mix=mix, window_shards=2), 5, straight[stop - 1][1]
        )
        for (one, _), (other, _) in zip(straight[stop : stop + 5], again, strict=True):
            assert one.sequences == other.sequences
            np.testing.assert_array_equal(one.positions_nm, other.positions_nm)


def test_batches_of_one_peptide_and_of_many(folder: Path) -> None:
    for batch, _ in take(BatchStream(TrainingData(folder), batch=6, mix="peptide", window_shards=4), 10):
        assert len(set(batch.sequences)) == len(batch.peptides) == 1
        assert batch.positions_nm.shape == (6, Peptide.from_sequence(batch.sequences[0]).n_atoms, 3)
    mixed = [batch for batch, _ in take(BatchStream(TrainingData(folder), batch=6, mix="mixed"), 10)]
    assert any(len(set(batch.sequences)) == 3 for batch in mixed)
    small = next(batch for batch in mixed if len(set(batch.sequences)) > 1 and "GG" in batch.sequences)
    row, atoms = small.sequences.index("GG"), Peptide.from_sequence("GG").n_atoms
    assert (small.positions_nm[row, atoms:] == 0).all()
    assert (small.positions_nm[row, :atoms] != 0).any()


def test_an_epoch_takes_each_frame_once(folder: Path) -> None:
    stream = BatchStream(TrainingData(folder), batch=1, mix="mixed", window_shards=3)
    batches = take(stream, 120)
    assert batches[-1][1] == Position(epoch=1)
    assert len({batch.positions_nm.tobytes() for batch, _ in batches}) == 120


def test_ranks_share_the_shards(folder: Path) -> None:
    streams = [BatchStream(TrainingData(folder), batch=1, mix="mixed", rank=rank, world=2) for rank in (0, 1)]
    seen = [{batch.positions_nm.tobytes() for batch, _ in take(stream, 60)} for stream in streams]
    assert len(seen[0] | seen[1]) == 120
    with pytest.raises(TrainingDataError, match="has 4 shards, fewer than 5 processes"):
        BatchStream(TrainingData(folder), batch=1, mix="mixed", rank=0, world=5)


def test_what_cannot_be_used_is_said(folder: Path, copy: Path, tmp_path: Path) -> None:
    with pytest.raises(TrainingDataError, match=r"no folder nowhere with .*reference --training` makes one"):
        TrainingData("nowhere")
    (tmp_path / "empty").mkdir()
    with pytest.raises(TrainingDataError, match="there are no shards"):
        TrainingData(tmp_path / "empty")
    with pytest.raises(TrainingDataError, match="1000 usable frames of one peptide; 0 faults"):
        take(BatchStream(TrainingData(folder), batch=1000, mix="peptide"), 1)
    with pytest.raises(TrainingDataError, match="no window of 1 shards with 1 usable frames"):
        take(BatchStream(TrainingData(folder, longest=1), batch=1, mix="mixed"), 1)
    (copy / TOPOLOGIES).write_bytes(tar_bytes([("GG.pdb", pdb_text(Peptide.from_sequence("GG")).encode())]))
    with pytest.raises(TrainingDataError, match=r"train\.tar has no G[AS]\.pdb"):
        take(BatchStream(TrainingData(copy), batch=1, mix="mixed"), 1)
    (copy / TOPOLOGIES).unlink()
    with pytest.raises(TrainingDataError, match="fixes the order of the atoms"):
        take(BatchStream(TrainingData(copy), batch=1, mix="mixed"), 1)


def test_frames_without_their_peptide_are_not_written(tmp_path: Path) -> None:
    peptide = Peptide.from_sequence("GG")
    with pytest.raises(ValueError, match="come without a peptide"):
        write_shards(tmp_path, {"GA": ensemble_of(peptide, 2)}, [peptide])
