"""What should happen: pure values in, values out; never reads a clock, a file, a socket or chance."""
