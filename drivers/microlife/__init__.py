"""Microlife cuffs that speak a protocol of their own over the service fff0."""
