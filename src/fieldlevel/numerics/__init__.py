"""Pure tensor functions in mesh units: no files, no configuration."""
