"""What a sparse memory changes in place: words, their gradients, the order of access."""
