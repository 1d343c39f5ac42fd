"""The serving step: what an event changes and causes.  Pure: no Kafka, no clock, no randomness."""
