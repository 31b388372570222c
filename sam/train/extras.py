"""Optional packages: imported on use; the error names the pip line that installs them."""

import importlib
from types import ModuleType

from index.tensor_files import INSTALL
from sam.errors import BackendMissingError


def import_extra(name: str) -> ModuleType:
    """Imports a package of the `train` extra.

    Args:
        name: the module, for example ``"tyro"`` or ``"safetensors.torch"``.

    Returns:
        The module.

    Raises:
        BackendMissingError: it, or something it needs, is not installed.
    """
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise BackendMissingError(
            f"{name}: expected an installed package, got {error}; {INSTALL}"
        ) from error
