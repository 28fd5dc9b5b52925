"""What following signals would have brought: candles in, fills at the next open, results out. Pure."""
