"""Finding edit directions: from labels, a classifier, mirrored faces, the generator itself."""
