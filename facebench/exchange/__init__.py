"""Other tools' files: published curves read, and runs written, in the formats of CompressAI and codec-compare."""
