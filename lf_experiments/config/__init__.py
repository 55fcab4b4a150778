"""What a run depends on: the keys and their meaning, the checks, and the reading."""
