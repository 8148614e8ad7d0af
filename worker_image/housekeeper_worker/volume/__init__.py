"""Everything that touches a volume. Each operation is relative to an open directory descriptor below one root."""
