"""How probes reach the outside: `guard` says what may be reached, `reach` alone connects; the rest is built on it."""
