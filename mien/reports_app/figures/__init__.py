"""Figures as SVG text: the face map, the forest plot, the heat strip of a recording, small bars."""
