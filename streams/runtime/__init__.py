"""The two processes put together: a serving worker and a learner, with their settings and background tasks."""
