"""From weights to numbers: whole-scene maps, integer confusions, scores and their statistics."""
