"""What reads a map or a summary of it."""
