"""Transforms of gauge fields."""
