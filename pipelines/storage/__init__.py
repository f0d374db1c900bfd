"""From a URI to patches: objects (uri -> bytes) -> images (bytes -> pixels) -> patches (pixels, centres -> patches)."""
