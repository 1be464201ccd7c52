"""The experiments of the letter: described as specs, run once, judged."""
