"""Tiles: rasters cut into small georeferenced squares, kept in one file that is a Zarr store and a memory map."""
