"""Counting bytes: those kept for the backward pass, the peak, and the resident set."""
