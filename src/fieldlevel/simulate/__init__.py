"""Mock suites: one gravity run a simulation, the baryon models on top of it."""
