"""What is installed, and what this machine says of itself: its build, its terminal, its joules."""
