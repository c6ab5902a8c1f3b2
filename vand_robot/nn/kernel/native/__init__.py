"""The scan in C, called by ctypes: as fast as torch's fused kernels, with a map of the state."""
