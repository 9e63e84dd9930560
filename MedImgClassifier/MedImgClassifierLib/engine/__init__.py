"""The engine: from a file to a Classification. No Slicer, no Qt; training shares it."""
