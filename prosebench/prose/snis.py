"""Prose with self-normalised importance sampling; see `prosebench.flows.snis`."""

from collections.abc import Mapping
from functools import partial
from typing import Any, Literal, cast, get_args

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from prosebench.ensemble import Ensemble
from prosebench.flows.flow import TRAINING_TEMPERATURE_KELVIN
from prosebench.flows.snis import FlowSettings, FlowSNIS, LogWeights, SmoothFlowSNIS
from prosebench.method import MethodSettings
from prosebench.peptide import Peptide
from prosebench.prose.flow import CentreDensity, Prose, ProseProposals
from prosebench.prose.prepared_layers import Precision

CONTRACT_SPREAD_NM = 0.9 * 0.35
"""The standard deviation in nm of the wells on which this flow is checked: nine tenths of the median width of
what the weights "breathing" propose (`Method.contract_spread_nm` gives the reason)."""


class LatentSettings(MethodSettings):
    """temperature "scaled" draws the latent from N(0, T / 310 K), "naive" as at 310 K."""

    temperature: Literal["scaled", "naive"] = "scaled"

    def latent_kelvin(self, target_kelvin: float) -> float:
        """Temperature at which the latent is drawn for a target."""
        return target_kelvin if self.temperature == "scaled" else TRAINING_TEMPERATURE_KELVIN


class ProseSettings(FlowSettings, LatentSettings):
    """See FlowSettings, and LatentSettings for temperatures; com is the density of the centre that is taken out.
    precision is that of draws on a GPU: see `prosebench.prose.prepared_layers.Precision`."""

    kind = Prose

    weights: str = "prose-mini"
    com: CentreDensity = "gaussian"
    # With the default, a cell has the same id as before there was a choice.
    precision: Precision = Field("float32", exclude_if=lambda value: value == "float32")

    def loading(self) -> dict[str, Any]:
        """See FlowSettings."""
        return {"precision": self.precision}

    def load(self) -> Prose:
        """See FlowSettings."""
        return cast(Prose, super().load())


class ProseSNIS(SmoothFlowSNIS):
    """Proposals of the flow with importance weights."""

    class Settings(ProseSettings, FlowSNIS.Settings):
        """See ProseSettings and `FlowSNIS.Settings`."""

    settings: Settings
    contract_settings = {"weights": "breathing", "chunk_proposals": 250}
    contract_spread_nm = CONTRACT_SPREAD_NM

    def frame_log_weights(
        self, peptide: Peptide, frames: Ensemble, temperature_kelvin: float
    ) -> NDArray[np.float64] | None:
        """See FlowSNIS; None for another density of the centre, under which frames have no normalised weights."""
        if self.settings.com != "gaussian":
            return None
        return super().frame_log_weights(peptide, frames, temperature_kelvin)

    def draws_at(self, target_kelvin: float) -> float:
        """See LatentSettings."""
        return self.settings.latent_kelvin(target_kelvin)

    def weightings(self, proposals: ProseProposals) -> Mapping[str, LogWeights]:
        """A weighting with every density of the centre, the chosen one first."""
        return centre_weightings(proposals, self.settings.com)


def centre_weightings(proposals: ProseProposals, com: CentreDensity) -> Mapping[str, LogWeights]:
    """How proposals are weighted: with every density of the centre, the one named by com first."""
    names = sorted(get_args(CentreDensity), key=lambda name: name != com)
    return {f"ess-{name}": partial(proposals.log_weights, com=name) for name in names}
