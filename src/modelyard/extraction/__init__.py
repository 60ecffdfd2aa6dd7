"""Extraction: fields out of documents, each with its verbatim quote and the quote's place."""

from modelyard.extraction.ask import extract, extract_async
from modelyard.extraction.result import DocumentResult, Extraction, FieldResult

__all__ = ["DocumentResult", "Extraction", "FieldResult", "extract", "extract_async"]
