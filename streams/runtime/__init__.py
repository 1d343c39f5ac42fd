"""The two processes put together: a serving worker and a learner, their settings and background tasks."""
