"""Measures of pictures: pixels, perception, attributes, distributions."""
