"""From candidates to a ranked list: the pool, its features, and one file for each ranker."""
