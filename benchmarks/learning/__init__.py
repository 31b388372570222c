"""Recipes trained with several seeds."""
