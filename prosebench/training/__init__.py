"""Training: data in the published layout, one loop for every trainable method, recipes."""
