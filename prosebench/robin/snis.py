"""Robin with self-normalised importance sampling; see `prosebench.flows.snis`.

Published scores (Rehman et al., arXiv 2606.27361) are of these proposals with weights that correct neither centre nor
orientation, and of 5,000 or 10,000 frames: score again before comparing.
"""

from pydantic import Field

from prosebench.flows.snis import FlowSNIS
from prosebench.robin.flow import DEFAULT_BATCH, Robin


class RobinSNIS(FlowSNIS):
    """Proposals of Robin with importance weights."""

    class Settings(FlowSNIS.Settings):
        """See FlowSettings. batch is smaller than that of other flows: keys and values of 16 layers take memory."""

        kind = Robin

        weights: str = "robin-up-to-8aa"
        batch: int = Field(DEFAULT_BATCH, gt=0)

    settings: Settings
    contract_settings = {"weights": "breathing", "batch": 250, "chunk_proposals": 250}
    contract_spread_nm = 0.9 * 0.205  # nine tenths of the width of what "breathing" proposes
