"""The web page `sfe app`. Starlette and uvicorn are imported by `serve.py`, when it starts."""
