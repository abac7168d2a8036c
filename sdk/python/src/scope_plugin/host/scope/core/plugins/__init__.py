"""Hook markers."""
