"""Video: a face followed through the frames, and edited in all of them alike."""
