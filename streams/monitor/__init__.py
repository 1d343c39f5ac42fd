"""Monitoring: what each process counts, its heartbeats, and what all processes read from the topic `metrics`.

    counts, lag, user_count -> sample -> heartbeats -> topic `metrics` -> history -> overview, quality, plots

Everything below `web` may be imported here; nothing here imports `web`.
"""
