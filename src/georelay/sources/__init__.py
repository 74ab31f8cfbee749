"""Where rasters come from: one module per kind of source, all behind `catalog.fetch_source`."""
