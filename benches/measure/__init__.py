"""What `make bench` is made of: the things measured, the observers, the report."""
