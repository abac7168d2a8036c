"""A pipeline class as packages for another host have them."""
