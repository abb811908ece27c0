"""Bias by group: whether some images are reconstructed worse than the others, by how much, and how sure that is."""
