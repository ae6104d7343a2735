"""Files from outside, read without trust: no object is built, sizes are checked, C libraries run apart."""
