"""How many problems a solver solves, by the number of evaluations and by wall time."""
