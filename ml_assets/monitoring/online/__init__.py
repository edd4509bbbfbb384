"""What the service was asked and how it answered."""
