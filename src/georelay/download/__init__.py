"""Files brought to the disk."""
