"""TarFlow: the flow that Prose is built on, without what Prose adds to it.

The condition is added to the tokens before every layer, instead of adapting layer norms; there is no transition, no
lookahead, and there are two orders of the atoms instead of eight (Tan et al., arXiv 2508.18175). Everything else, down
to the code that samples, is that of prose-snis, so the two rows differ by the network alone.
"""

from prosebench.prose.snis import ProseSNIS


class TarFlowSNIS(ProseSNIS):
    """Proposals of a plain TarFlow with importance weights."""

    class Settings(ProseSNIS.Settings):
        """Those of prose-snis."""

        weights: str = "tarflow-mini"

    settings: Settings
