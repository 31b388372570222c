"""Tasks and models that other installed packages bring; see `index.plugins`."""

from index.plugins import load_plugin, plugin_names

__all__ = ["load_plugin", "plugin_names"]
