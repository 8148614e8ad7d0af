"""What a run moves aside instead of removing it: moved with a manifest, put back, purged when its time is over."""
