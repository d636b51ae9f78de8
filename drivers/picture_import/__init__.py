"""Pictures as files: a dermatoscope that presents itself as storage, or a folder of pictures."""
