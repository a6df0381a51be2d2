"""Commands about flows: sample, improve, train."""
