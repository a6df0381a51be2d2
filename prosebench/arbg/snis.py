"""The autoregressive flow with self-normalised importance sampling; see `prosebench.flows.snis`."""

from prosebench.arbg.flow import Arbg
from prosebench.flows.snis import FlowSNIS, SmoothFlowSNIS

CONTRACT_SPREAD_NM = 0.9 * 0.35
"""Of the wells on which flows are checked: nine tenths of the median width of what "wells" proposes."""


class ArbgSNIS(SmoothFlowSNIS):
    """Proposals of the autoregressive flow with importance weights."""

    class Settings(FlowSNIS.Settings):
        """See FlowSNIS."""

        kind = Arbg

        weights: str = "arbg-small"

    settings: Settings
    contract_settings = {"weights": "wells", "chunk_proposals": 250}
    contract_spread_nm = CONTRACT_SPREAD_NM
