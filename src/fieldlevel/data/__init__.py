"""Maps of simulations: CMD-format folders, checked, and batches on the device."""
