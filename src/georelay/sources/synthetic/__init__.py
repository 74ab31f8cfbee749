"""Worlds drawn from random numbers, and the sensors that see them."""
