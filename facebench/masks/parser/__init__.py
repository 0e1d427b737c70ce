"""The face parser: a small network that finds the face mask of a picture that comes without one."""

#: The masker's name; raise the version when the same weights are to give other masks.
NAME, VERSION = "faceparser", 1
