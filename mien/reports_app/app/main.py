"""The script that Streamlit runs for every visit and every change of a control."""

from mien.reports_app.app.shell import show

if __name__ == "__main__":  # processes that are started from here import this file under another name
    show()
