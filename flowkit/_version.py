"""The version of flowkit."""

__version__ = "0.1.0"
