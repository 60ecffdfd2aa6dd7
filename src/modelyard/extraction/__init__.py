"""Extraction: fields out of documents, each with its quote."""
