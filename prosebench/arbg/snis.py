"""The autoregressive flow with self-normalised importance sampling; see `prosebench.flows.snis`."""

from prosebench.arbg.flow import Arbg
from prosebench.flows.snis import FlowSNIS, SmoothFlowSNIS

CONTRACT_SPREAD_NM = 0.9 * 0.35
"""The standard deviation in nm of the wells on which this flow is checked: nine tenths of the median width of
what the weights "wells" propose (`Method.contract_spread_nm` gives the reason)."""


class ArbgSNIS(SmoothFlowSNIS):
    """Proposals of the autoregressive flow with importance weights."""

    class Settings(FlowSNIS.Settings):
        """See FlowSNIS."""

        kind = Arbg

        weights: str = "arbg-small"

    settings: Settings
    contract_settings = {"weights": "wells", "chunk_proposals": 250}
    contract_spread_nm = CONTRACT_SPREAD_NM
