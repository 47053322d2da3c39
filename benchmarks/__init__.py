"""Benchmarks that anybody can run; figures are ratios of one run, as machines are shared and noisy."""
