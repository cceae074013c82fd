"""Numerical kernels: plain definitions in `ref`, fast versions beside them."""
