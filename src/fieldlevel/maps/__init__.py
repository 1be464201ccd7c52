"""Maps: CMD-format folders, projection of particles, batches on the device."""
