"""What of finished letters goes into a repository, and what their predictions tell beyond the report."""
