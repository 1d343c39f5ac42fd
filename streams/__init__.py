"""Freshet's Kafka side: the two Faust apps, their messages, topics, pages and command line."""
