"""The routes, one file a family, and the bodies that they take (`wire.py`)."""
