"""Pixel grids, rasters and palettes."""
