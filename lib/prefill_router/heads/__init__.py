"""What predicts P(correct): networks, the kernel router, baselines."""
