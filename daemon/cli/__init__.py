"""The command line `ticketd`: one file a command group, libraries imported where a command needs them."""
