"""Pulse oximeters of the Bluetooth Pulse Oximeter Service (1822)."""
