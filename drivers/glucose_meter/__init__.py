"""Glucose meters of the Bluetooth Glucose Service (1808)."""
