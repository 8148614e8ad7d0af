"""Benchmarks: trees that they make themselves, ours and the rival one after the other in the same run, medians."""
