"""Health checks: a registry, and one file a check. Each measures, and leaves the judgement to `thresholds`."""
