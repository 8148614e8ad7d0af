"""Fixtures of every test: the embedded cluster's. They start nothing until a test asks for them."""

pytest_plugins = ["tests.cluster.fixtures"]
