"""What it means: the paper's equations, the similarity of sentences, and the key linguistic regions."""
