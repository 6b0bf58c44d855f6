"""From a tracker's bytes to a Recording, and how good the recording is.

`formats` reads and writes files; `quality` says what a recording is worth. Imports study and nothing else of ours.
"""
