"""What pictures are measured by: pixels, perception, attributes, distributions."""
