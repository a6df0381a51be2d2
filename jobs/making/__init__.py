"""What a benchmark stands on and users make themselves: references, training data, imported frames, weights."""
