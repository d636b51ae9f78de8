"""Contec ECG90A: 12-lead recordings that the device writes as `.ECG` files on its storage."""
