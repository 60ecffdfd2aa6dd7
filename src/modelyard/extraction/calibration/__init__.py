"""Calibration: confidences fitted on labelled documents, and how good they are."""
