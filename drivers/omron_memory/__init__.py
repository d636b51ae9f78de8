"""Omron cuffs that are read out of their memory, which is never written."""
