"""The equivariant continuous flow (ECNF++) of transferable Boltzmann generators (TBG): velocity field, exact
divergence, integration, weights, training."""
