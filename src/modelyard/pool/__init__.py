"""The pool: models load on first use, are shared by all who name them, and make room for each other."""

from modelyard.pool.entry import ModelStatus, State
from modelyard.pool.loading import load_engine
from modelyard.pool.pool import Pool, default_pool

__all__ = ["ModelStatus", "Pool", "State", "default_pool", "load_engine"]
