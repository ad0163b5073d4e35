"""What learns to put text into classes."""
