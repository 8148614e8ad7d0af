"""Builders of desired objects: values in, plain dicts out. One object a file."""
