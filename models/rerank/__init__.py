"""Rules: what of a ranked list is left out, by the shop's catalog and the user's history.

Each rule is one small file and one line in `models.rerank.rules`; tests/models/rerank holds all to the same
promises.
"""
