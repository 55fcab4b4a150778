"""What is lost when a region is switched off."""
