"""What the project is configured with, and which code it is."""
