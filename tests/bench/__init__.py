"""Benchmarks: the figures that the project promises, measured on this machine against a real Kafka.

make bench        python -m tests.bench --help
"""
