"""Modules for other libraries, each of which is imported only with the module that is for it."""
