"""The engines: one contract, one file an engine, and what engines share."""
