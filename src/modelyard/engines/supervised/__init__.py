"""A server that runs as a process of ours: started, watched, and gone with us, whatever ends us."""

from modelyard.engines.supervised.server import Server, free_port

__all__ = ["Server", "free_port"]
