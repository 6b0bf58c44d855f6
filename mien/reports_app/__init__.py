"""What people read: figures, tables, sentences and documents, as plain functions from values to text.

Nothing here reads a file (packaged templates apart), knows a study folder or computes a statistic of its own beyond
counting and rounding: the numbers come from `mien.effects` and from the quality and preparation reports. The command
line and the app place the same pieces.
"""
