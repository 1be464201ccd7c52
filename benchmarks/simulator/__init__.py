"""Measurements of the simulator and the page that tells them, `docs/simulator.md`."""
