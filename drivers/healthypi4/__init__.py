"""ProtoCentral HealthyPi v4: a patient monitor on a board, over serial. Not a certified device."""
