"""Shards, member by member: what is taken, what is left out with a word, and what is refused outright."""

from collections.abc import Callable
from functools import cache
from pathlib import Path

import numpy as np
import pytest

from prosebench.ensemble import Ensemble
from prosebench.peptide import Peptide
from prosebench.training.shards import (
    ExcludedPeptide,
    ensemble_members,
    excluded_peptides,
    pdb_text,
    read_shard,
    refuse_excluded,
    tar_bytes,
    write_shards,
)

peptide_of = cache(Peptide.from_sequence)
Wanted = Callable[[str], Peptide | None]


def frames(sequence: str, n: int, seed: int = 0) -> np.ndarray:
    peptide = peptide_of(sequence)
    noise = 0.003 * np.random.default_rng(seed).standard_normal((n, peptide.n_atoms, 3))
    return (peptide.start_nm + noise).astype("<f4")


def shard(path: Path, members: list[tuple[str, bytes]]) -> Path:
    path.write_bytes(tar_bytes(members))
    return path


def members(sequence: str, some: np.ndarray, prefix: str = "") -> list[tuple[str, bytes]]:
    return [(f"{prefix}{sequence}_{i}.bin", frame.tobytes()) for i, frame in enumerate(some)]


def test_members_are_taken_in_their_order_whatever_folder_they_are_said_to_be_in(tmp_path: Path) -> None:
    some, others = frames("GG", 4), frames("GA", 2)
    mixed = [*members("GG", some[:2], "a/b/"), *members("GA", others), *members("GG", some[2:], "./")]
    faults: dict[str, str] = {}
    found = read_shard(shard(tmp_path / "0.tar", mixed), peptide_of, faults)
    np.testing.assert_array_equal(found["GG"], some)
    np.testing.assert_array_equal(found["GA"], others)
    assert faults == {}


def test_peptides_that_are_not_wanted_are_passed_over_in_silence(tmp_path: Path) -> None:
    both = [*members("GG", frames("GG", 2)), ("GGGGGGGG_0.bin", b"of any size")]
    wanted: Wanted = lambda sequence: peptide_of(sequence) if len(sequence) < 5 else None  # noqa: E731
    faults: dict[str, str] = {}
    assert set(read_shard(shard(tmp_path / "0.tar", both), wanted, faults)) == {"GG"}
    assert faults == {}


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("GG_1.npy", b"", "it is not named {SEQUENCE}_{frame}.bin"),
        ("gg_1.bin", b"", "it is not named"),
        ("GG_one.bin", b"", "it is not named"),
        ("GG_1.bin", b"x" * 12, "it has 12 bytes; GG needs 204"),
        ("GG_1.bin", b"", "it has 0 bytes"),
    ],
)
def test_members_that_cannot_be_are_named_and_the_rest_is_kept(
    name: str, content: bytes, said: str, tmp_path: Path
) -> None:
    faults: dict[str, str] = {}
    path = shard(tmp_path / "7.tar", [(name, content), *members("GG", frames("GG", 2))])
    assert len(read_shard(path, peptide_of, faults)["GG"]) == 2
    ((where, reason),) = faults.items()
    assert where == f"7.tar/{name}"
    assert reason.startswith(said)


def test_a_peptide_with_wrong_bonds_is_left_out_and_the_others_stay(tmp_path: Path) -> None:
    faults: dict[str, str] = {}
    both = [*members("GG", 10 * frames("GG", 3)), *members("GA", frames("GA", 3))]
    found = read_shard(shard(tmp_path / "0.tar", both), peptide_of, faults)
    assert set(found) == {"GA"}
    assert faults["0.tar/GG"].startswith("all 3 frames are left out: the bond between ")
    assert "divide by 10" in faults["0.tar/GG"]


def test_frames_that_are_not_finite_are_counted_and_dropped(tmp_path: Path) -> None:
    some = frames("GG", 5)
    some[[1, 4], 0, 0] = np.nan, np.inf
    faults: dict[str, str] = {}
    found = read_shard(shard(tmp_path / "0.tar", members("GG", some)), peptide_of, faults)
    np.testing.assert_array_equal(found["GG"], some[[0, 2, 3]])
    assert faults == {"0.tar/GG": "2 frames are not finite"}


def test_peptides_of_suites_are_refused_before_anything_is_taken(tmp_path: Path) -> None:
    tested = min(excluded_peptides(), key=len)
    for name in (f"{tested}_0.bin", f"deep/{tested}_0.bin"):
        with pytest.raises(ExcludedPeptide, match=f"holds {tested}, a peptide of the suite"):
            read_shard(shard(tmp_path / "0.tar", [(name, b"")]), lambda _: None, {})
    refuse_excluded("GG", "anything")


def test_an_ensemble_becomes_numbered_members_without_what_is_not_finite() -> None:
    some, energies = frames("GG", 4), np.array([0.0, np.inf, 0.0, 0.0])
    some[2, 0, 0] = np.nan
    found = list(ensemble_members("GG", Ensemble(some, energies), first=100))
    assert [name for name, _ in found] == ["GG_100.bin", "GG_103.bin"]
    np.testing.assert_array_equal(np.frombuffer(found[1][1], "<f4").reshape(-1, 3), some[3])


def test_archives_know_no_time_and_no_user() -> None:
    content = [("a", b"1"), ("b", b"2" * 600)]
    assert tar_bytes(content) == tar_bytes(iter(content))
    assert pdb_text(peptide_of("GG")) == pdb_text(Peptide.from_sequence("GG"))
    assert "REMARK" not in pdb_text(peptide_of("GG"))


def test_frames_without_their_peptide_are_refused(tmp_path: Path) -> None:
    of_gg = Ensemble(frames("GG", 2), np.zeros(2))
    for peptides in ([], [peptide_of("GA")]):
        with pytest.raises(
            ValueError, match=r"frames of G[GA] with 17 atoms come without a peptide of as many"
        ):
            write_shards(tmp_path, {"GA" if peptides else "GG": of_gg}, peptides)
    assert list(tmp_path.iterdir()) == []


def test_the_order_is_one_of_the_seed_and_shards_are_cut_from_it(tmp_path: Path) -> None:
    ensembles = {"GG": Ensemble(frames("GG", 10), np.zeros(10))}
    found = {}
    for seed in (0, 1):
        paths = write_shards(
            tmp_path / str(seed), ensembles, [peptide_of("GG")], frames_per_shard=4, seed=seed
        )
        assert [path.name for path in paths] == ["0000.tar", "0001.tar", "0002.tar"]
        found[seed] = np.concatenate([read_shard(path, peptide_of, {})["GG"] for path in paths])
        assert len(np.unique(found[seed][:, 0, 0])) == 10
    assert (found[0] != found[1]).any()
