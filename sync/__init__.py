"""Synchronisation: the wire contract (pure), planning (pure), the uplink and MQTT.

Knows paho. Never SQLite, never a device. Imports nothing else of ours.
"""
