"""Asking: voters, what each is given to read, and how its reply becomes candidates."""
