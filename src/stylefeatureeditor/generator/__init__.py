"""StyleGAN2: the generator G and its discriminators."""
