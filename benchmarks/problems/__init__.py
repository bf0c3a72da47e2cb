"""Test problems of the benchmarks."""
