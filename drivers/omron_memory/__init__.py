"""Records of Omron cuffs that are read out of their memory: the codec only."""
