"""Pure decisions: plain values and a clock in, a value with its reason out. No I/O, no kopf, no client."""
