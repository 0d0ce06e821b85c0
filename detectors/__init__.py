"""One failure mode per file: what it is, when it fires, what to do. Found by walking the folder."""
