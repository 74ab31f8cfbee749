"""Archives of public datasets: brought to the disk, verified and unpacked. `obtain` is the way in."""
