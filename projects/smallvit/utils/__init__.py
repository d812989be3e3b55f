"""Helpers without a domain: whole files, nested configs, lists in messages."""
