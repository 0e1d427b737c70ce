"""What codecs cost beside bytes: time, memory and arithmetic, measured in processes of one thread."""
