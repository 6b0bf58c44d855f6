"""A module for every page: `show(context)` places controls, asks `reading` for content, and places it."""
