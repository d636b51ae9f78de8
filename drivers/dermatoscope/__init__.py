"""USB dermatoscope: a UVC camera whose MJPEG frames are kept as the camera sent them."""
