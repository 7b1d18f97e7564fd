"""Metrics, perceptual networks and the tables of the paper."""
