"""Which weights of a checkpoint are an average over training is told by names alone."""

from typing import Any

import pytest
import torch
from torch import Tensor

from prosebench.flows.weights.sets import SetError, choose, find_lists, find_sets, is_average

ANCHOR = "embed.weight"


def weights(value: float, prefix: str = "") -> dict[str, Tensor]:
    return {
        f"{prefix}{ANCHOR}": torch.full((3, 2), value),
        f"{prefix}out.bias": torch.full((2,), value),
        f"{prefix}out.mask": torch.ones(2, 2),
    }


def as_list(value: float) -> list[Tensor]:
    """Learned weights alone, in their order."""
    return [torch.full((3, 2), value), torch.full((2,), value)]


@pytest.mark.parametrize(
    "where",
    [
        "ema_model",
        "EMAWeights",
        "averaged_model",
        "model_ema/",
        "callbacks/EMA/state",
        "swa.module.",
        "shadowParams",
        "polyak",
        "optimizer/weights-average",
        "use_ema",
    ],
)
def test_averages_are_known_by_a_word(where: str) -> None:
    assert is_average(where)


@pytest.mark.parametrize(
    "where",
    [
        "",
        "model",
        "non_ema",
        "state_dict_no_ema",
        "schema",
        "emanate",
        "NoEMA",
        "before_average",
        "raw_swa",
        "cinema",
    ],
)
def test_words_that_only_look_like_one_or_are_denied_are_none(where: str) -> None:
    assert not is_average(where)


def test_a_second_word_counts_though_a_first_one_is_denied() -> None:
    assert is_average("no_ema/but/swa")


@pytest.mark.parametrize(
    ("content", "where", "value", "others"),
    [
        (weights(1.0), "", 1.0, []),
        ({"state_dict": weights(1.0, "net.")}, "state_dict/net.", 1.0, []),
        (
            {"state_dict": weights(1.0), "ema_model": weights(2.0)},
            "ema_model/",
            2.0,
            ["state_dict/"],
        ),
        (
            {"state_dict": weights(1.0, "model.") | weights(2.0, "ema_model.")},
            "state_dict/ema_model.",
            2.0,
            ["state_dict/model."],
        ),
        # Two without an average: the one under the shortest name.
        ({"teacher": weights(2.0), "net": weights(1.0)}, "net/", 1.0, ["teacher/"]),
        (weights(1.0) | {"no_ema": weights(2.0)}, "", 1.0, ["no_ema/"]),
        (weights(1.0) | {"ema": weights(2.0)}, "ema/", 2.0, ["the outermost names"]),
    ],
)
def test_the_average_is_taken_and_the_others_are_told(
    content: Any, where: str, value: float, others: list[str]
) -> None:
    found, left = choose(content, ANCHOR, ["mask"])
    assert (found.where, left) == (where, others)
    assert set(found.tensors) == {ANCHOR, "out.bias", "out.mask"}
    assert float(found.tensors["out.bias"][0]) == value


@pytest.mark.parametrize(
    "average",
    [
        {"shadow_params": as_list(5.0), "decay": 0.999},
        {"shadow_params": tuple(as_list(5.0))},
        {f"shadow_params.{i}": tensor for i, tensor in enumerate(as_list(5.0))},
    ],
    ids=["list", "tuple", "ParameterList"],
)
def test_an_average_that_is_a_list_gets_the_names_and_constants_beside_it(average: dict[str, Any]) -> None:
    found, others = choose({"model": weights(1.0), "ema": average}, ANCHOR, ["mask"])
    assert found.where.rstrip("/") == "ema/shadow_params"
    assert others == ["model/"]
    assert float(found.tensors[ANCHOR][0, 0]) == float(found.tensors["out.bias"][0]) == 5.0
    assert torch.equal(found.tensors["out.mask"], torch.ones(2, 2))


def test_a_list_that_does_not_fit_is_not_passed_over_in_silence() -> None:
    with pytest.raises(
        SetError, match=r"ema/ is an average kept as a list of 1 tensors, .* the 2 weights of model/"
    ):
        choose({"model": weights(1.0), "ema": as_list(5.0)[:1]}, ANCHOR, ["mask"])
    with pytest.raises(SetError, match="save the average by name"):
        choose({"model": weights(1.0), "ema": as_list(5.0)[::-1]}, ANCHOR, ["mask"])
    # An average by name is there: nobody needs the list.
    both = {"model": weights(1.0), "ema": weights(3.0), "ema_list": as_list(5.0)[:1]}
    assert choose(both, ANCHOR, ["mask"])[0].where == "ema/"


def test_lists_of_anything_else_are_no_weights() -> None:
    content = {"steps": [1, 2], "mixed": [torch.ones(1), 3], "none": [], "deep": {"ema": as_list(1.0)}}
    assert [where for where, _ in find_lists(content, "")] == ["deep/ema/"]
    # Numbers that do not begin at 0, or leave one out, are names and no list.
    assert list(find_lists({"a.1": torch.ones(1), "b.0": torch.ones(1), "b.2": torch.ones(1)}, "")) == []
    eleven = {f"a.{i}": torch.full((1,), float(i)) for i in (10, *range(10))}
    ((_, numbered),) = find_lists(eleven, "")
    assert [float(one) for one in numbered] == [float(i) for i in range(11)]


def test_what_is_no_tensor_is_no_weight() -> None:
    content = weights(1.0) | {"out.config": {"a": 1}, 3: "x"}
    (found,) = find_sets(content, ANCHOR, "")
    assert set(found.tensors) == {ANCHOR, "out.bias", "out.mask"}
    with pytest.raises(KeyError):
        choose({"model": {"embed.weight": "gone"}}, ANCHOR, [])
