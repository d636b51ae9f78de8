"""Drivers: links to hardware, pure codecs, simulators. Imports nothing else of ours.

A new driver is one folder and one line here. Modules are imported when asked for, so that
naming a driver never loads bleak, PyAV or pydicom.
"""

DRIVERS = {
    "blood-pressure": "drivers.blood_pressure",
    "thermometer": "drivers.thermometer",
    "healthypi6": "drivers.healthypi6",
    "dermatoscope": "drivers.dermatoscope",
}
