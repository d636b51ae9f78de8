"""Thermometers of the Bluetooth Health Thermometer Service (1809)."""
