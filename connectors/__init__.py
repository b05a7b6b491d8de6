"""How the outside is spoken to: one file a kind; never imports the daemon or a sibling kind."""
