"""Mock suites: one gravity run a simulation, two baryon models on top of it."""
