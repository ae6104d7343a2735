"""The original's network pickles, read without building an object from them."""
