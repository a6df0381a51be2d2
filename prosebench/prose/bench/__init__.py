"""How fast Prose draws, and what bounds it."""
