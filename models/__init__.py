"""Freshet's models: numpy, numba and torch, and nothing of Kafka or Faust."""
