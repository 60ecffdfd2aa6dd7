"""Beyond one machine: the same runs and the same server on a Ray cluster."""
