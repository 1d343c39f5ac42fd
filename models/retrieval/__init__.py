"""Candidate generators, one file each, and what several of them share: sessions, clicks, item vectors."""
