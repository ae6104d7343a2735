"""The restoration stages of the data set: JPEG-artifact removal and 4x super-resolution."""
