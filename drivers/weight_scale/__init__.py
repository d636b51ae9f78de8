"""Scales of the Bluetooth Weight Scale (181D) and Body Composition (181B) Services."""
