"""What is kept and shown: the run folder, its figures and tables, the report, and its mirror in a tracking service."""
