"""`python -m streams` is `freshet`."""

from streams.cli import cli

if __name__ == "__main__":
    cli(prog_name="freshet")
