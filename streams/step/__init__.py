"""The serving step: what an event does to its user and what it causes.  Pure: no Kafka, no clock, no randomness."""
