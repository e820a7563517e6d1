"""Weights, encoders, the prefill and the store of activations."""
