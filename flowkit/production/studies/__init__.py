"""The studies behind the figures: each a function of keyword settings that returns rows."""
