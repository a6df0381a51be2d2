"""What this machine can do, and whether our functions give the published numbers."""
