"""Yonker, Yongrow and METIKO cuffs of the service cdeacd80."""
