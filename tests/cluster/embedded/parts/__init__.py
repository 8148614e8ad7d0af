"""What a cluster consists of: its network, its processes, their arguments and configuration."""
