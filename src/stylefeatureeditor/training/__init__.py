"""Losses, optimiser and the phases of training."""
