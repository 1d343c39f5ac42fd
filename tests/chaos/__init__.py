"""A seeded driver of faults on a real Kafka, `make chaos`, whose oracle shares no code with the product.

The scenarios act as an operator or as the world does (signals, a slow network, damaged files, deleted topics)
and judge by what users of Freshet can see: topics, pages, exit statuses, the log.  No module here imports
`streams` or `models`; a test holds that.
"""
