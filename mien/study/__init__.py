"""The nouns that everyone shares: blend shapes, recordings, events, participants, stimuli, trials, the study folder.

This folder imports nothing else of the project. Modules are imported by name (`from mien.study.folder import Study`),
so that looking at one costs nothing of the others.
"""
