"""OpenBCI Cyton by its serial dongle: eight channels of 24 bits. Bench input, not for patients."""
