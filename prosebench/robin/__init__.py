"""Robin: an autoregressive model of binned coordinates (Rehman et al., arXiv 2606.27361)."""
