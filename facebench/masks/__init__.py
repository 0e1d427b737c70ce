"""Face masks: read from an image set's annotation, or made by a masker plugin."""
