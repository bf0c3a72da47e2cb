"""The interfaces of other packages over the same rule: their names, defaults, errors and numbers."""
