"""The embedded frontier pools: what ten models of 2025 answered to generated questions."""
