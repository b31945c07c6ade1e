"""Transforms of fields on sites."""
