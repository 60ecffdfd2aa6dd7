"""Engines with an environment of their own: programs whose requirements do not go together with ours.

Each lives in a virtual environment in the data folder. Nothing of theirs is imported here: they are run.
"""

from modelyard.engines.environments.environment import Environment, find, remove
from modelyard.engines.environments.install import install
from modelyard.engines.environments.pip import InstallProgress
from modelyard.engines.environments.recipes import Recipe, hardware_here, names, recipe

__all__ = [
    "Environment",
    "InstallProgress",
    "Recipe",
    "find",
    "hardware_here",
    "install",
    "names",
    "recipe",
    "remove",
]
