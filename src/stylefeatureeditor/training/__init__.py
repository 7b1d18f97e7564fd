"""Losses, data, optimiser and the phases of training."""
