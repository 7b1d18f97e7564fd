"""StyleFeatureEditor: edit real photos through StyleGAN2 and keep their detail."""

__version__ = "0.1.0"
