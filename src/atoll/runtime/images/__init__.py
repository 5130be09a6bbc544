"""Images: unpacked layers and the records over them, below one directory."""
