"""What a study shows: tables with intervals, curves, map panels, and one offline page that holds them all."""
