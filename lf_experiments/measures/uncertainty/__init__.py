"""How far a number can be trusted: intervals over meanings, nulls of shuffled labels, replication in halves, paired effects."""
