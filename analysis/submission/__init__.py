"""Results that somebody else made: checked from the frames up, and kept for the board."""
