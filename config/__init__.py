"""The files an operator starts from: settings, and what belongs beside the server."""
