"""End to end: real processes on a broker."""
