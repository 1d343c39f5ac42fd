"""Offline evaluation and tuning on a log."""
