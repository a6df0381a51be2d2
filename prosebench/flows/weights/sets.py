"""Which of the sets of weights in a checkpoint is taken: the exponential moving average where there is one.

Checkpoints nest weights in dictionaries, under names of their maker's choice, with a prefix before each parameter.
Averages are known by the words of the keys that lead to them: `ema_model`, `EMAWeights`, `averaged_model`, and not
`non_ema`, `state_dict_no_ema` or `schema`.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from typing import Any, NamedTuple

from torch import Tensor

AVERAGE = {"ema", "averaged", "average", "polyak", "swa", "shadow"}
"""Words in a name which say that weights were averaged over the steps of training."""
NOT = {"no", "non", "not", "without", "before", "pre", "raw", "off"}
"""Words which, in front of a word of AVERAGE, say the opposite."""
WORD = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+")


class SetError(ValueError):
    """A checkpoint whose average cannot be told by name; the message says what to do."""


class WeightSet(NamedTuple):
    """One set of weights by their published names, and the keys and name prefix that lead to it."""

    where: str
    tensors: dict[str, Tensor]

    @property
    def averaged(self) -> bool:
        """Whether these weights are an average over the steps of training."""
        return is_average(self.where)


def choose(content: Any, anchor: str, constants: Sequence[str]) -> tuple[WeightSet, list[str]]:
    """The average where there is one, else the set under the shortest name; and where the others are.

    anchor is a name that every set has. An average that is kept as a list, in the order of the parameters and so
    without the constants (ends of names), gets the names of the set beside it. Raises KeyError where there is no set,
    SetError for a list that does not fit.
    """
    sets = list(find_sets(content, anchor, ""))
    if not sets:
        raise KeyError(anchor)
    best = min(sets, key=lambda one: (not one.averaged, len(one.where)))
    lists = [one for one in find_lists(content, "") if is_average(one[0])]
    if lists and not best.averaged:
        sets = [_named(*lists[0], best, constants), *sets]
        best = sets[0]
    return best, [one.where or "the outermost names" for one in sets if one is not best]


def is_average(where: str) -> bool:
    """Whether keys and prefixes say that what they lead to is an average."""
    words = ["", *(word.lower() for word in WORD.findall(where))]
    return any(word in AVERAGE and before not in NOT for before, word in pairwise(words))


def find_sets(content: Any, anchor: str, where: str) -> Iterator[WeightSet]:
    """Every set of weights in nested dictionaries."""
    if not isinstance(content, Mapping):
        return
    names = {str(name): value for name, value in content.items()}
    for name, value in names.items():
        if name.endswith(anchor) and isinstance(value, Tensor):
            prefix = name.removesuffix(anchor)
            tensors = {n.removeprefix(prefix): v for n, v in names.items() if n.startswith(prefix)}
            yield WeightSet(f"{where}{prefix}", {n: v for n, v in tensors.items() if isinstance(v, Tensor)})
    for name, value in names.items():
        yield from find_sets(value, anchor, f"{where}{name}/")


def find_lists(content: Any, where: str) -> Iterator[tuple[str, list[Tensor]]]:
    """Every list of tensors in nested dictionaries, and the keys that lead to it. What torch's ParameterList leaves
    under the names NAME.0, NAME.1 and so on is a list, too."""
    if isinstance(content, Mapping):
        for name, numbered in _numbered(content).items():
            yield f"{where}{name}", numbered
        for name, value in content.items():
            yield from find_lists(value, f"{where}{name}/")
    elif isinstance(content, list | tuple) and content and all(isinstance(one, Tensor) for one in content):
        yield where, list(content)


def _numbered(content: Mapping[Any, Any]) -> dict[str, list[Tensor]]:
    """Tensors whose names are one name and the numbers from 0 on, in order, by that name."""
    found: dict[str, dict[int, Tensor]] = {}
    for name, value in content.items():
        stem, _, number = str(name).rpartition(".")
        if isinstance(value, Tensor) and number.isdecimal():
            found.setdefault(stem, {})[int(number)] = value
    return {
        stem: [tensors[i] for i in range(len(tensors))]
        for stem, tensors in found.items()
        if set(tensors) == set(range(len(tensors)))
    }


def _named(where: str, tensors: list[Tensor], beside: WeightSet, constants: Sequence[str]) -> WeightSet:
    """A list of parameters under the names of the set beside it, where numbers and shapes are the same."""
    constant = {name for name in beside.tensors if name.rpartition(".")[2] in constants}
    names = [name for name in beside.tensors if name not in constant]
    if [beside.tensors[name].shape for name in names] != [tensor.shape for tensor in tensors]:
        raise SetError(
            f"{where} is an average kept as a list of {len(tensors)} tensors, which does not fit the {len(names)} "
            f"weights of {beside.where or 'the file'}: save the average by name (a state_dict), or remove it to use "
            "the other"
        )
    kept = {name: beside.tensors[name] for name in constant}
    return WeightSet(where, dict(zip(names, tensors, strict=True)) | kept)
