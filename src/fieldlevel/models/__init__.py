"""Networks and their loss."""
