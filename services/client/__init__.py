"""The terminal clients: `fleetcast watch` and `fleetcast act`."""
