"""What more than one door does."""
