"""Fixtures of every test: the embedded cluster's. They start nothing until a test asks for them."""

import os

import hypothesis

pytest_plugins = ["tests.cluster.fixtures"]

# How long an example takes says nothing on machines that are shared. In CI the same examples are tried each time, so
# that a commit is judged by what it changes; everywhere else they are new ones, which is how they find something.
hypothesis.settings.register_profile("default", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow])
hypothesis.settings.register_profile("ci", hypothesis.settings.get_profile("default"), derandomize=True)
hypothesis.settings.load_profile("ci" if os.environ.get("CI") else "default")
