"""Directions, Delta and the Feature Editor: codes and features move (Eq. 5-6)."""
