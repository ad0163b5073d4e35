"""`fastemb quickstart`: train on text that every machine has, and show what came out."""

from fastemb.cli.options import QuietOption

EXAMPLE = "fastemb quickstart"


def quickstart(quiet: QuietOption = False) -> None:
    """Train vectors on the source of Python's standard library and show what they learned."""
