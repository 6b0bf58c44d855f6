"""The script that Streamlit runs for every visit and every change of a control."""

from mien.reports_app.app.shell import show

show()
