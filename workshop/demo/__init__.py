"""`make demo`: Housekeeper at work on a volume full of files, on a cluster of its own or on one that you name."""
