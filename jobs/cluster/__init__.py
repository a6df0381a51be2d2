"""Cells on a cluster: profiles, packing, costs, arrays of jobs, and what the scheduler says of them."""
