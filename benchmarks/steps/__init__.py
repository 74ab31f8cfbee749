"""What the benchmarks of training steps share."""
