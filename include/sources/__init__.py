"""Sources: one file per vendor, each `query -> extract -> transform`."""

NAMES = ("simulator", "coingecko")
"""Sources that can be pulled every minute. (`replay` reads files and is started by hand.)"""
