"""Training one network and keeping its weights."""
