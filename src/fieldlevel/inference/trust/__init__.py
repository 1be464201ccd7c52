"""Are maps like those that a network was trained on, so that its error bars hold? `judging.judge` says so."""
