"""The import paths that pipeline packages with the entry point group ``scope`` use, and no more of them than they need. Only on the path of
plugin processes. Written from the published names and their behaviour."""
