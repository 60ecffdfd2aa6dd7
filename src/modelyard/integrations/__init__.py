"""Modelyard's models inside other people's programs: one file a program, which has to be installed."""
