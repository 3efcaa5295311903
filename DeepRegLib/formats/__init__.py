"""Volumes in foreign files: one file a format, each of which believes nothing before it has checked it."""
