"""The image sets of `data/images.py` under their former name."""

from stylefeatureeditor.data.images import Batch, DataConfig, ImageSet, batches, open_images

__all__ = ["Batch", "DataConfig", "ImageSet", "batches", "open_images"]
