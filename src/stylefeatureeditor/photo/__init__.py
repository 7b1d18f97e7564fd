"""Pixels only: reading, finding and cropping faces, masks, and pasting back. No network of ours."""

SESSION_SUFFIX = ".sfe"  # of a saved session of the page
SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".tif", ".tiff")  # that are written
NOTE = "stylefeatureeditor"  # keyword of the text block that marks a PNG as made here
