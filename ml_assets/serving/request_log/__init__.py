"""Log of predicted requests: files, writer and reader."""
