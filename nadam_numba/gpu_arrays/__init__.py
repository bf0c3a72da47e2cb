"""The rule on GPU arrays: kernels, their launches, and the arrays. Imported when the first GPU array is seen."""
