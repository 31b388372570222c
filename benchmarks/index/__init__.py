"""Time, recall and bytes of the indexes."""
