"""What the Makefile calls: set up, lock, generate, verify, test, demo. Nothing here is part of the product."""
