"""Random streams of a chunk: the same numbers for each proposal, on a CPU one stream at a time, on a GPU several."""

import numpy as np
import pytest

from prosebench.flows.streams import Streams


def rng_of(stream: int) -> np.random.Generator:
    return np.random.default_rng(stream)


def drawn(device: str, size: int, budget: int, together: int = 64) -> np.ndarray:
    """All numbers of proposals 0 ... budget - 1, chunk by chunk."""
    parts, carry, left, index = [], {}, budget, 0
    while left:
        streams = Streams.of(index, carry, size, left, device, together)
        rng = streams.generator(rng_of)
        normals = rng.standard_normal((streams.n, 3))
        whole = rng.integers(0, 100, (streams.n, 1))
        parts.append(np.concatenate([normals, whole], axis=1))
        carry, left, index = streams.carry, left - streams.n, index + 1
    return np.concatenate(parts)


@pytest.mark.parametrize(("size", "budget"), [(10, 100), (10, 95), (10, 7), (64, 64), (100, 130)])
def test_proposals_are_the_same_on_a_gpu(size: int, budget: int) -> None:
    np.testing.assert_array_equal(drawn("cpu", size, budget), drawn("cuda", size, budget))


def test_how_many_streams_a_gpu_takes_together_changes_nothing() -> None:
    np.testing.assert_array_equal(drawn("cuda", 10, 95, 20), drawn("cuda", 10, 95, 1000))


def test_a_cpu_has_one_stream_a_chunk() -> None:
    streams = Streams.of(3, {}, 10, 4, "cpu")
    assert (streams.sizes, streams.n, streams.carry) == ([(3, 4)], 4, {})


@pytest.mark.parametrize(
    ("size", "most", "together", "sizes"),
    [
        (10, 100, 35, [10, 10, 10]),
        (10, 25, 35, [10, 10, 5]),
        (10, 3, 35, [3]),
        # A chunk of one stream may be larger than what would fill a GPU.
        (50, 100, 35, [50]),
        (50, 20, 35, [20]),
    ],
)
def test_a_gpu_takes_whole_streams_and_what_is_left_of_the_budget(
    size: int, most: int, together: int, sizes: list[int]
) -> None:
    streams = Streams.of(9, {"stream": np.array(4)}, size, most, "cuda:1", together)
    assert streams.sizes == [(4 + i, n) for i, n in enumerate(sizes)]
    assert int(streams.carry["stream"]) == 4 + len(sizes)


def test_what_a_joined_stream_cannot_draw_is_refused() -> None:
    """Numbers that do not come a row a proposal would not be those of a CPU."""
    rng = Streams.of(0, {}, 10, 30, "cuda", 30).generator(rng_of)
    with pytest.raises(AttributeError):
        rng.permutation(3)
