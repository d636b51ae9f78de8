"""Simulated devices on real transports: for training, tests and the demonstration."""
