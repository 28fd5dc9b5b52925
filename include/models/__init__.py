"""Models of what is usual: trained on candles of an explicit window, kept as plain arrays, scored in numpy."""
