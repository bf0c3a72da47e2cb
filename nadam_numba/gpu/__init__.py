"""The rule on GPU arrays; only this package imports numba.cuda, and it is imported when the first GPU array is seen."""
