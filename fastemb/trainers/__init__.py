"""What learns vectors from text."""
