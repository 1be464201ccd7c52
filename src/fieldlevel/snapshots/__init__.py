"""Reading snapshots: their files, parts, units and quantities."""
