"""The paper's own numbers, and what it observed, as statements that a run can be asked about."""
