"""The one door to the Kubernetes API: plain dictionaries in and out, errors translated once, a copy in memory."""
