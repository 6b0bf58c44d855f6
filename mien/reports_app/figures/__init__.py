"""Figures as SVG text: face map, forest plots, heat strips, bars, courses, correlations, trees, networks."""
