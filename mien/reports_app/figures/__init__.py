"""Figures as SVG text: face map, forest plots, heat strip of a recording, bars, courses, correlations, trees, network."""
