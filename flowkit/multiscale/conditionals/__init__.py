"""Models of new links given the loops through them."""
