"""The champion's error on new months."""
