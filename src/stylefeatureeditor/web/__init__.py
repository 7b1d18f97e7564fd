"""The web page `sfe app`. Gradio is imported by `page.py` and `handlers.py`, when it starts."""
