"""What stays and what goes. Pure: plain values and a clock reading in, decisions with their reasons out."""
