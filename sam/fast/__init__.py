"""Faster forms of what the plain modules do; nothing else depends on them."""
