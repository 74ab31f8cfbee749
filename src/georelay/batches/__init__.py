"""Batches as a pure function of (seed, step): which tiles, how they are changed, and the tensors they become."""
