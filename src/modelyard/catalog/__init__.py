"""The catalogue: YAML in, specs out, and the files of a model on this machine."""

from modelyard.catalog.load import Catalog, load_catalog, load_file
from modelyard.catalog.model import Model
from modelyard.catalog.spec import HubSource, ModelSpec, PackagePart, PackageSource, PathSource

__all__ = [
    "Catalog",
    "HubSource",
    "Model",
    "ModelSpec",
    "PackagePart",
    "PackageSource",
    "PathSource",
    "load_catalog",
    "load_file",
]
