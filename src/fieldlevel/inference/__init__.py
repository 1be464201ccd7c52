"""Trained networks and what they say of maps that they have not seen."""
