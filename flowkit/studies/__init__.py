"""The figures that flowkit claims, each a function that runs it again."""
