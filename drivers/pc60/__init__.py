"""Creative and Lepu PC-60 finger clips, which repeat their value every second."""
