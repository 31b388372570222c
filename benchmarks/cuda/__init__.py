"""SAM's step on a GPU."""
