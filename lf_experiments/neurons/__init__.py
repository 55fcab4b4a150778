"""What happens inside: recording the neurons of every layer, and its mirror, switching some of them off."""
