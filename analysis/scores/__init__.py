"""Scores of whole run folders, and how far references can be trusted."""
