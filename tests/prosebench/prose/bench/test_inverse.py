import pytest

from prosebench.prose.bench import inverse as bench
from prosebench.prose.config import load_size
from tests.pretended.gpu import PretendedGpu

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


def test_on_a_gpu_batches_are_those_that_it_draws(tmp_path, monkeypatch):
    """Small batches are one, as full as the GPU wants it; launches are counted where nothing is recorded yet."""
    monkeypatch.setattr(bench, "MATRIX", {"cpu": 64, "cuda": 64})
    size = tmp_path / "tiny.toml"
    size.write_text(SIZE)
    here = bench.bench_inverse([str(size)], ["GG"], [2], rounds=1, blocks=1, reference=False)
    batches = []
    timed = bench.PeptideInverter.__call__

    def watched(self, z, *more):
        batches.append(len(z))
        return timed(self, z, *more)

    monkeypatch.setattr(bench.PeptideInverter, "__call__", watched)
    with PretendedGpu(memory_bytes=2**17):
        there = [
            row
            for precision in ("tf32", "bfloat16")
            for row in bench.bench_inverse(
                [str(size)],
                ["GG"],
                [1, 2, 16],
                rounds=1,
                blocks=1,
                reference=False,
                device="cuda",
                precision=precision,
            )
        ]
    assert [(row["precision"], row["batch"]) for row in there] == [
        ("tf32", 8), ("tf32", 16), ("bfloat16", 8), ("bfloat16", 16)
    ]  # fmt: skip
    assert batches[:6] == [8, 8, 8, 8, 2, 16]  # three before the one that is timed, then launches are counted
    assert all(row["launches"] > 0.9 * here[0]["launches"] for row in there)
    assert there[2]["mb_a_frame"] < there[0]["mb_a_frame"]  # keys and values take half


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
