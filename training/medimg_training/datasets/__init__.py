"""Where labelled data comes from: `manifest.csv` is the one door, every source adapts to it."""
