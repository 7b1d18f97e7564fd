"""Published face parsers: which pixels are face, hair and background."""
