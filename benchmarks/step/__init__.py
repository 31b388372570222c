"""Where the time of one step goes, operation by operation."""
