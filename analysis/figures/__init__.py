"""Figures: of one peptide and over a suite."""
