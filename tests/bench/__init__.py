"""`make bench`: what the project promises in figures, measured here and now on a real Kafka."""
