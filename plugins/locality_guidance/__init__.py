"""Locality guidance: a small CNN teaches the features of any host."""
