"""georelay: what distillation and adaptation are worth for remote-sensing segmentation, with error bars."""

__version__ = "0.1.0"
