"""Kafka and RocksDB access beyond Faust's."""
