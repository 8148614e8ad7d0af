"""Several processes at one run: how they are started and ended, how they talk, and how they divide the work."""
