"""What is kept: the folder of a run and the table of a sweep, written and read."""
