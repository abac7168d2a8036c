"""Pipeline classes."""
