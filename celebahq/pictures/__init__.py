"""Picture files: decoded by one module, encoded by one, laid out in grids by one."""
