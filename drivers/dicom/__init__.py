"""DICOM objects of what the devices say. Names never enter one; pydicom is loaded lazily."""
