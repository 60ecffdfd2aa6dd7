"""Readers: one file a format, each turning a source into lines that remember where they stood."""
