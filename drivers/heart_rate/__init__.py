"""Heart rate sensors of the Bluetooth Heart Rate Service (180D)."""
