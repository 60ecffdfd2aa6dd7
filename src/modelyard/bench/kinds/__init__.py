"""The kinds of task that a file can describe, one file a kind."""
