"""Olimex SHIELD-EKG-EMG on an Arduino: packet format 2. A bench input, not for patients."""
