"""Maps of particles: fields, slabs, the whole way from snapshots, many of them."""
