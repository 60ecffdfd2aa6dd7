"""Extraction: fields out of documents, each with its verbatim quote and the quote's place."""

from modelyard.extraction.ask import DocumentResult, Extraction, FieldResult, extract, extract_async

__all__ = ["DocumentResult", "Extraction", "FieldResult", "extract", "extract_async"]
