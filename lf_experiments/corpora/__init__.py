"""What is read: parallel sentences, monolingual text, and the miniature world that comes with the package."""
