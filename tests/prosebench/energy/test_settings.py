"""Settings of a target: what an engine would not heed is refused, and cells keep their identity."""

from functools import cache

import numpy as np
import pytest
from pydantic import ValidationError

from prosebench.energy import batched
from prosebench.energy.native import NativeUnavailable
from prosebench.energy.settings import TargetSettings, make_target
from prosebench.peptide import Peptide

peptide_of = cache(Peptide.from_sequence)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"platform": "CUDA"}, "platform 'CUDA' is one of OpenMM's; it goes with engine = \"openmm\""),
        ({"precision": "mixed"}, 'engine = "batched" has precision "single" or "double"'),
        ({"engine": "openmm", "device": "cuda"}, 'device = "cuda" goes with engine = "batched"'),
        ({"device": "cuda", "precision": "double"}, 'device = "cuda" has precision "single"'),
        ({"temperature_kelvin": 0.0}, "greater than 0"),
        ({"temperature": 300.0}, "Extra inputs are not permitted"),
    ],
)
def test_what_would_not_be_heeded_is_refused(settings: dict[str, object], said: str) -> None:
    with pytest.raises(ValidationError) as wrong:
        TargetSettings.model_validate(settings)
    assert said in str(wrong.value)


def test_the_cpu_goes_without_saying_so_that_older_cells_keep_their_identity() -> None:
    assert "device" not in TargetSettings().model_dump(mode="json")
    on_gpu = TargetSettings(device="cuda")
    assert on_gpu.model_dump(mode="json")["device"] == "cuda"
    assert on_gpu.on_cpu() == TargetSettings()
    assert TargetSettings.model_validate(on_gpu.model_dump(mode="json")) == on_gpu


@pytest.mark.parametrize(
    ("precision", "platform"), [(None, "CPU"), ("single", "CPU"), ("double", "Reference")]
)
def test_openmm_takes_over_where_the_kernel_is_not_built_and_the_record_says_so(
    precision: str | None, platform: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def missing(*_: object, **__: object) -> None:
        raise NativeUnavailable("not built")

    expected = make_target(peptide_of("GG"), TargetSettings()).energy(peptide_of("GG").start_nm[None])
    monkeypatch.setattr(batched, "BatchedEnergy", missing)
    target = make_target(peptide_of("GG"), TargetSettings(precision=precision))  # type: ignore[arg-type]
    assert (target.describe()["engine"], target.describe()["platform"]) == ("openmm", platform)
    np.testing.assert_allclose(target.energy(peptide_of("GG").start_nm[None]), expected, atol=1e-3)
    # Nobody who asks for a GPU gets a CPU.
    with pytest.raises(NativeUnavailable, match="not built"):
        make_target(peptide_of("GG"), TargetSettings(device="cuda"))


def test_a_temperature_scales_what_an_energy_is_in_kt() -> None:
    cold, hot = (
        make_target(peptide_of("GG"), TargetSettings(temperature_kelvin=kelvin)) for kelvin in (310.0, 620.0)
    )
    frame = peptide_of("GG").start_nm[None]
    np.testing.assert_allclose(hot.energy(frame), 0.5 * cold.energy(frame), rtol=1e-6)
