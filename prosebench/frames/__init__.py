"""What is computed from frames: geometry, features, TICA, placement, importance weights, files of other programs."""
