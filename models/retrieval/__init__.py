"""One candidate generator a file."""
