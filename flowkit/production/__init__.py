"""Complete runs from the command line: recipes, figures and the machine they ran on."""
