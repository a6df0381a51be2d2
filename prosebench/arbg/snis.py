"""The autoregressive flow with self-normalised importance sampling; see `prosebench.flows.snis`."""

from typing import cast

from prosebench.arbg.flow import Arbg
from prosebench.flows.proposal import FlowProposal
from prosebench.flows.snis import FlowSettings, FlowSNIS
from prosebench.method import Carry, Run

CONTRACT_SPREAD_NM = 0.9 * 0.35
"""Of the wells on which flows are checked: nine tenths of the median width of what "wells" proposes."""


class ArbgSettings(FlowSettings):
    """See FlowSettings."""

    kind = Arbg

    weights: str = "arbg-small"

    def load(self) -> Arbg:
        """See FlowSettings."""
        return cast(Arbg, super().load())


class ArbgSNIS(FlowSNIS):
    """Proposals of the autoregressive flow with importance weights."""

    class Settings(ArbgSettings, FlowSNIS.Settings):
        """See FlowSNIS."""

    settings: Settings
    contract_settings = {"weights": "wells", "chunk_proposals": 250}
    contract_spread_nm = CONTRACT_SPREAD_NM

    def proposal(self, run: Run, carry: Carry) -> FlowProposal:
        """The flow as a start for annealing; see prosebench.proposal."""
        return FlowProposal(
            self.settings.load(), run.peptide, run.meter.temperature_kelvin, self.settings.batch
        )
