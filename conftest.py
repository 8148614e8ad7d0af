"""Fixtures of the test cluster for all tests; it starts only when a test asks for it."""

pytest_plugins = ["tests.cluster.fixtures"]
