"""Training: schedule, optimisers, checkpoints, and one loop that knows no method."""
