import pytest

from prosebench.prose import bench
from prosebench.prose.config import load_size

SIZE = """
channels = 16
head_dim = 8
blocks = 4
layers_per_block = 2
"""


def test_every_combination_gets_a_row(tmp_path, monkeypatch):
    monkeypatch.setattr(bench, "MATRIX", {"cpu": 64, "cuda": 64})
    size = tmp_path / "tiny.toml"
    size.write_text(SIZE)
    rows = bench.bench_inverse([str(size)], ["GG", "GA"], [2, 3], rounds=1, blocks=1)
    assert [(row["peptide"], row["atoms"], row["batch"]) for row in rows] == [
        ("GG", 17, 2),
        ("GG", 17, 3),
        ("GA", 20, 2),
        ("GA", 20, 3),
    ]
    assert all(row["samples_per_second"] > 0 and row["over_bound"] > 0 for row in rows)
    assert all(row["speedup"] > 0 for row in rows)
    for row in rows:
        seconds = {name: row[f"{name}_seconds"] for name in ("arithmetic", "memory", "launches")}
        assert row["binds"] == max(seconds, key=seconds.get)
    assert rows[0]["launches"] == rows[1]["launches"] < rows[2]["launches"]  # of tokens, not of frames
    assert rows[0]["mb_a_frame"] > rows[1]["mb_a_frame"]  # weights are read once for all frames


def test_nothing_to_measure_is_said():
    for peptides, batches in ((["GG"], [0]), (["GG"], []), ([], [2])):
        with pytest.raises(ValueError, match="nothing to measure"):
            bench.bench_inverse(["prose-mini"], peptides, batches)
    with pytest.raises(ValueError, match="there is no device 'abacus' here"):
        bench.bench_inverse(["prose-mini"], ["GG"], [2], device="abacus")


def test_weights_are_those_of_the_blocks():
    whole = load_size("prose-8aa")
    assert bench.n_block_weights(whole) == pytest.approx(285e6, rel=0.015)
    half = whole.model_copy(update={"blocks": 4})
    assert bench.n_block_weights(whole) == 2 * bench.n_block_weights(half)
