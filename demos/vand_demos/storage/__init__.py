"""Everything that knows the HDF5 file."""
