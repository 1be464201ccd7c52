"""What networks say beside the truth, measured with errors."""
