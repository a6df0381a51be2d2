"""tarflow-snis is an ablation of prose-snis: network and recipe differ in what Prose adds, and in nothing else."""

import pytest

from baselines.tarflow import TarFlowSNIS
from prosebench.prose.config import load_size
from prosebench.prose.snis import ProseSNIS
from prosebench.prose.weights import load_weights
from prosebench.training.recipe import load_recipe


@pytest.mark.parametrize("scale", ["mini", "8aa"])
def test_sizes_differ_in_what_prose_adds(scale: str) -> None:
    prose, tarflow = (load_size(f"{kind}-{scale}").model_dump() for kind in ("prose", "tarflow"))
    added = {"description", "conditioning", "transition", "lookahead", "orders"}
    assert {name for name in prose if prose[name] != tarflow[name]} == added


def test_recipes_differ_in_the_size() -> None:
    prose, tarflow = (load_recipe(f"{kind}-mini").model_dump() for kind in ("prose", "tarflow"))
    assert {name for name in prose if prose[name] != tarflow[name]} == {"description", "model"}
    assert tarflow["model"] == {
        key: value.replace("prose", "tarflow") for key, value in prose["model"].items()
    }


def test_bundled_weights_saw_the_same_frames() -> None:
    prose, tarflow = (load_weights(f"{kind}-mini").source["notes"] for kind in ("prose", "tarflow"))
    assert prose["frames"] == tarflow["frames"]
    for part in ("data", "optimiser", "steps", "seed", "precision"):
        assert prose["recipe"][part] == tarflow["recipe"][part], part


def test_only_the_default_weights_differ() -> None:
    assert TarFlowSNIS.chunk is ProseSNIS.chunk
    fields = {
        kind: {name: field.default for name, field in kind.Settings.model_fields.items()}
        for kind in (ProseSNIS, TarFlowSNIS)
    }
    assert fields[TarFlowSNIS] == fields[ProseSNIS] | {"weights": "tarflow-mini"}
