"""The asset graph, one file for each step of the story."""
