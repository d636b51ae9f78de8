"""Welch Allyn SureTemp Plus: a contact thermometer module that is asked over serial.

OEM Implementation Manual 71332-0000B, chapter 8: 9600 baud, 8N1, every frame summing to zero.
"""
