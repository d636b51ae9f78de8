"""Blood pressure cuffs of the Bluetooth Blood Pressure Service (1810)."""
