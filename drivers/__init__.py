"""Drivers: links to hardware, pure codecs, simulators. Imports nothing else of ours.

A new driver is one folder and one line here. Modules are imported when asked for, so that
naming a driver never loads bleak, PyAV or pydicom.
"""

DRIVERS = {
    "blood-pressure": "drivers.blood_pressure",
    "thermometer": "drivers.thermometer",
    "pulse-oximeter": "drivers.pulse_oximeter",
    "glucose-meter": "drivers.glucose_meter",
    "weight-scale": "drivers.weight_scale",
    "heart-rate": "drivers.heart_rate",
    "microlife": "drivers.microlife",
    "yonker": "drivers.yonker",
    "taidoc": "drivers.taidoc",
    "pc60": "drivers.pc60",
    "nonin3230": "drivers.nonin3230",
    "cms50d-bt": "drivers.cms50d_bt",
    "omron-memory": "drivers.omron_memory",
    "healthypi6": "drivers.healthypi6",
    "dermatoscope": "drivers.dermatoscope",
    "contec-ecg90a": "drivers.contec_ecg90a",
    "picture-import": "drivers.picture_import",
    "ad8232": "drivers.ad8232",
    "olimex": "drivers.olimex",
    "cyton": "drivers.cyton",
    "healthypi4": "drivers.healthypi4",
    "suretemp": "drivers.suretemp",
    "cms50d-plus": "drivers.cms50d_plus",
}
