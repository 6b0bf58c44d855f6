"""The Streamlit app: pages that place what the pure functions of reports_app make. No statistics of its own.

server      how it is started: one study, this machine, hardened
main        the script that Streamlit runs; shell: who looks, which pages
settings    what it was told; access: roles, and who may see what
reading     what pages read, guarded by role, kept in memory under hashes
placing     ways to place content; screens/: a module for every page (a folder "pages" beside the script would
                be taken by Streamlit for pages of its own)
"""
