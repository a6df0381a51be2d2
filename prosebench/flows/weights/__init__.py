"""Weights of flows in files: where they lie, which format they have, and which set of several is taken."""
